comparison-lost = The cache was lost at { $step }: what it reads, or what is above it, has changed.
comparison-lost-more = The cache was lost at { $step }, and with it { $count } more: what it reads, or what is above it, has changed.
comparison-slower = { $step } took { $now }, and { $before } before.
