js-copy = 复制
js-copied = 已复制
