# 在日志中移动的按钮。
js-moves-steps = 步骤
js-moves-step-before = 上一个步骤
js-moves-step-after = 下一个步骤
js-moves-at-step = 位于步骤 #{ $step } { $name }
js-moves-errors = 错误
js-moves-error-before = 上一个错误或警告
js-moves-error-after = 下一个错误或警告
js-moves-ends = 首尾
js-moves-first = 第一行
js-moves-last = 最后一行
