# 日志查看器的文字。
js-log-times = { $times ->
    [clock] 时间：时刻
    [utc] 时间：UTC
    [start] 时间：距开始
    [gap] 时间：距上一行
   *[other] 时间：关闭
}
js-log-all-lines = 按顺序显示所有行
js-log-by-steps = 按步骤显示
js-log-follow = { $news ->
    [0] 跟随 ↓
   *[other] 跟随 ↓（{ $news } 行新内容）
}
js-log-reconnecting = 正在重新连接…
js-log-gone = 该日志已不存在
js-log-denied = 你已无权查看该日志，请重新登录
js-log-no-answer = 服务器没有响应，正在重试…
js-log-attempt = [slipway] 关于本次尝试
js-log-line-named = 第 { $line } 行已写入地址栏
js-log-lines-named = 第 { $from } 至 { $to } 行已写入地址栏
js-log-errors-unread = 无法在日志中查找错误
js-log-no-errors = 该日志中没有提到错误或警告的行
js-log-error-of = 第 { $number } 个错误或警告，共 { $count } 个
js-log-error-of-more = 第 { $number } 个错误或警告，共 { $count }+ 个
js-log-changed = { $state ->
    [live] 日志正在实时更新
    [none] 日志尚未开始
    [cut] 日志末尾缺失
    [damaged] 日志的一部分已损坏
   *[other] 日志已完整
}
js-log-lines = { $count } 行
js-log-live = 实时，{ $count } 行
js-log-cut = { $count } 行；末尾缺失：其构建器未能交付
js-log-damaged = { $count } 行；存储的部分内容已损坏
js-log-waiting = 正在等待构建器…
js-log-empty = 没有日志
js-log-line = 第 { $line } 行
js-log-lost-line = 该行已丢失
js-log-clipped = … 该行过长，未完整显示；纯文本日志中有全部内容
js-log-group = 分组
js-log-error = 错误
js-log-warning = 警告
js-log-notice = 提示
js-log-moved = { $done } / { $total }
js-log-secs = { $secs } 秒
js-log-mins = { $mins } 分 { $secs } 秒
js-log-numbers = 行号
