js-search-place = { $place } of { $count }
js-search-going = Searching…
js-search-failed = The log could not be searched.
js-search-no-answer = The log could not be searched; the server did not answer.
js-search-found = { $count ->
    [0] Nothing in the whole log
    [one] 1 line in the whole log
   *[other] { $count } lines in the whole log
}
js-search-found-so-far = { $count ->
    [0] Nothing in the log so far
    [one] 1 line in the log so far
   *[other] { $count } lines in the log so far
}
js-search-going-on = { $count ->
    [0] Nothing found yet; still searching
    [one] 1 line or more; still searching
   *[other] { $count } lines or more; still searching
}
js-search-at-least = { $count }+
js-search-cut = { $count ->
    [one] { $told }; the end of 1 very long line was not searched
   *[other] { $told }; the ends of { $count } very long lines were not searched
}
js-search-more = Show more ({ $count } left)
js-search-show = Show it in the log
js-search-step = Step
js-search-all-steps = All steps
js-search-context = Lines around
js-search-previous = Previous place
js-search-next = Next place
