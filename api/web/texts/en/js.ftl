js-copy = Copy
js-copied = Copied
