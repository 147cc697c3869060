layers-title = Layers
layers-of = Layers of { $target }
layers-count = { $count ->
    [one] 1 layer
   *[other] { $count } layers
}
layers-made-by = Made by
layers-unpacked = Unpacked
layers-pushed = Pushed
layers-new = new
layers-same-size = the same size
layers-all-shared = Compared with the earlier build: { $size }; { $layers }, all shared.
layers-some-shared = Compared with the earlier build: { $size }; { $layers } shared, { $new } new and { $gone } gone.
layers-grew-most = { $instruction } grew most ({ $change }).
