trend-duration = 耗时与成功
trend-cache = 来自缓存的步骤
trend-cache-words = { $percent }% 的步骤来自缓存
trend-steps-cached = { $count } 个步骤中有 { $cached } 个来自缓存
trend-size = 推送的镜像大小
trend-size-same = { $size }，与此处最早的一次相同
trend-size-words = { $size }，与此处最早的一次相比 { $change }
