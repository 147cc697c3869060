login-token = API 令牌
login-where = 首次运行 { $command } 时会输出一次令牌，并将其保存在数据目录中。
login-unknown = 此令牌未知或已被吊销。请检查是否完整复制。
