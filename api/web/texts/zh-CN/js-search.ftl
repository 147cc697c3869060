js-search-place = 第 { $place } 处，共 { $count } 处
js-search-going = 正在搜索…
js-search-failed = 无法搜索日志。
js-search-no-answer = 无法搜索日志；服务器没有应答。
js-search-found = { $count ->
    [0] 整个日志中没有找到
   *[other] 在整个日志中找到 { $count } 行
}
js-search-found-so-far = { $count ->
    [0] 目前的日志中没有找到
   *[other] 在目前的日志中找到 { $count } 行
}
js-search-going-on = { $count ->
    [0] 尚未找到，仍在搜索
   *[other] 至少找到 { $count } 行，仍在搜索
}
js-search-at-least = 至少 { $count }
js-search-cut = { $told }；{ $count } 个超长行的末尾没有搜索
js-search-more = 显示更多（还有 { $count } 行）
js-search-show = 在日志中显示
js-search-step = 步骤
js-search-all-steps = 所有步骤
js-search-context = 显示前后行
js-search-previous = 上一处
js-search-next = 下一处
