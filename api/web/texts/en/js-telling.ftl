js-telling-step = Step { $step } has failed: { $name }.
js-telling-end = The build has ended: { $state }.
