chart-succeeded = { $good } of the last { $count } builds succeeded
chart-succeeded-within = { $good } of the last { $count } builds succeeded, half of them within { $took }
