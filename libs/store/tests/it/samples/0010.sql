-- The outline of a stored run.
update log_segments set outline = {json "steps":[[1,2]],"open":false,"first_at":"2026-01-01T00:00:00Z","last_at":"2026-01-01T00:00:00Z"};
