-- When more of the sample's logs was stored.
update attempt_logs set grown_at = '2026-01-01T00:00:00+00:00';
