# What the log's viewer says.
js-log-times = { $times ->
    [clock] Times: clock
    [utc] Times: UTC
    [start] Times: since start
    [gap] Times: since last line
   *[other] Times: off
}
js-log-all-lines = All lines in order
js-log-by-steps = By steps
js-log-follow = { $news ->
    [0] Follow ↓
   *[other] Follow ↓ ({ $news } new)
}
js-log-reconnecting = Reconnecting…
js-log-gone = This log is not there any more
js-log-denied = You may not see this log any more; sign in again
js-log-no-answer = The server does not answer; trying again…
js-log-attempt = [slipway] about this attempt
js-log-line-named = Line { $line } is in the address
js-log-lines-named = Lines { $from } to { $to } are in the address
js-log-errors-unread = The log could not be searched for errors
js-log-no-errors = No line of this log speaks of an error or a warning
js-log-error-of = Error or warning { $number } of { $count }
js-log-error-of-more = Error or warning { $number } of { $count }+
js-log-changed = { $state ->
    [live] The log is live
    [none] The log has not begun
    [cut] The end of the log is missing
    [damaged] A part of the log is damaged
   *[other] The log is complete
}
js-log-lines = { $count ->
    [one] 1 line
   *[other] { $count } lines
}
js-log-live = { $count ->
    [one] Live, 1 line
   *[other] Live, { $count } lines
}
js-log-cut = { $count ->
    [one] 1 line; the end is missing: its builder could not hand it in
   *[other] { $count } lines; the end is missing: its builder could not hand it in
}
js-log-damaged = { $count ->
    [one] 1 line; a part of what was stored is damaged
   *[other] { $count } lines; a part of what was stored is damaged
}
js-log-waiting = Waiting for a builder…
js-log-empty = Nothing was logged
js-log-line = Line { $line }
js-log-lost-line = this line is lost
js-log-clipped = … this line is longer than what is shown; the plain log has all of it
js-log-group = Group
js-log-error = error
js-log-warning = warning
js-log-notice = notice
js-log-moved = { $done } of { $total }
js-log-secs = { $secs } s
js-log-mins = { $mins } min { $secs } s
js-log-numbers = Line numbers
