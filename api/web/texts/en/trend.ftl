trend-duration = Duration and success
trend-cache = Steps from the cache
trend-cache-words = { $percent } % of all steps came from the cache
trend-steps-cached = { $cached } of { $count } steps from the cache
trend-size = Pushed size
trend-size-same = { $size }, as the oldest one here
trend-size-words = { $size }, { $change } against the oldest one here
