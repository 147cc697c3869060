timeline-title = 时间线
timeline-together = { $took }；所有步骤合计 { $together }，平均同时 { $rate } 个
timeline-cached = { $words }；{ $count } 个步骤中有 { $cached } 个来自缓存
