timeline-title = Timeline
timeline-together = { $took }; all steps together { $together }, { $rate } at a time
timeline-cached = { $words }; { $cached } of { $count } steps were cached
