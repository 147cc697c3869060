# Titles are those of HTTP; what happened is told by the API, in English.
problem-bad-request = 请求有误
problem-unauthorized = 需要登录
problem-forbidden = 没有权限
problem-not-found = 页面不存在
problem-conflict = 与当前状态冲突
problem-gone = 已不复存在
problem-too-large = 内容过大
problem-invalid = 无法处理
problem-too-many = 请求过于频繁
problem-busy = 服务繁忙
problem-ours = 服务内部错误
problem-ours-what = 服务出了故障。请把错误 ID 告诉管理员。
problem-id = 错误 ID：
problem-log-in = 如果你有令牌，请{ $link }，也许能看到更多内容。
