-- When more of a log was stored last: one that still comes is not given up.
alter table attempt_logs add column grown_at timestamptz;
