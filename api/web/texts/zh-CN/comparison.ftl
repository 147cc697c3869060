comparison-lost = 缓存在 { $step } 处失效：它读取的内容或其上方的内容有变化。
comparison-lost-more = 缓存在 { $step } 处失效，另有 { $count } 个步骤随之失效：它读取的内容或其上方的内容有变化。
comparison-slower = { $step } 耗时 { $now }，之前为 { $before }。
