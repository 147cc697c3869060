chart-succeeded = 最近 { $count } 次构建中有 { $good } 次成功
chart-succeeded-within = 最近 { $count } 次构建中有 { $good } 次成功，其中一半在 { $took } 内完成
