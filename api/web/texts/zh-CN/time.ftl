time-just-now = 刚刚
time-seconds-ago = { $count } 秒前
time-minutes-ago = { $count } 分钟前
time-hours-ago = { $count } 小时前
# How long something took.
time-seconds = { $secs } 秒
time-minutes = { $mins } 分 { $secs } 秒
time-hours = { $hours } 小时 { $mins } 分
