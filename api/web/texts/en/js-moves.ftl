# Buttons that move through a log.
js-moves-steps = Steps
js-moves-step-before = Previous step
js-moves-step-after = Next step
js-moves-at-step = At step #{ $step } { $name }
js-moves-errors = Errors
js-moves-error-before = Previous error or warning
js-moves-error-after = Next error or warning
js-moves-ends = Ends
js-moves-first = First line
js-moves-last = Last line
