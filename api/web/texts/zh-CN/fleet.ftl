fleet-title = 槽位与需求
fleet-hour = 1 小时
fleet-six-hours = 6 小时
fleet-day = 24 小时
fleet-week = 7 天
fleet-beginning = 一段时间
fleet-ago = { $span }前
fleet-now = 现在
fleet-slots = 槽位
fleet-waiting = 等待中
fleet-more = 还有更多池；完整数据见 API 的 /api/v1/pools/history。
fleet-words = 最多有 { $wanted } 个作业需要槽位。现在有 { $now } 个，共有 { $slots } 个槽位。{ $short ->
    [0] 槽位一直充足。
   *[other] 有 { $short } 分钟槽位不足。
}
