js-copying-too-many = More than { $count } lines are not copied; download the log instead
js-copying-loaded = Only the lines that are loaded were copied; download the log to have all
js-copying-going = Copying…
js-copying-done = { $count ->
    [one] 1 line is copied
   *[other] { $count } lines are copied
}
js-copying-failed = The lines could not be copied
js-copying-lines = Copy lines
js-copying-step = Copy step
js-copying-link = Copy link
js-copying-link-done = The link is copied
