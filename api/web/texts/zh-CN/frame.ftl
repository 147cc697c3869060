# What every page has around it.
frame-skip = 跳到正文
frame-main = 主导航
frame-log-out = 退出登录
frame-unsafe = 此连接未加密。
frame-unsafe-why = 途中的任何人都能接管你的会话。请让 Slipway 使用 https，并设置 { $setting }。
frame-language = 语言
frame-theme = 主题
frame-theme-system = 跟随系统
frame-theme-light = 浅色
frame-theme-dark = 深色
