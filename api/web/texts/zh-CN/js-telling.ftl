js-telling-step = 步骤 { $step } 失败：{ $name }。
js-telling-end = 构建已结束：{ $state }。
