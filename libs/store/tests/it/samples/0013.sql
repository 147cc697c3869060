-- The archive of the sealed log, whose segments are to be removed.
update log_segments set object_start = case when start_offset = 0 then 0 else 50 end, object_bytes = case when start_offset = 0 then 50 else 40 end where epoch = 2;
update attempt_logs set stored_bytes = 90, archived_at = '2026-01-01T00:02:00+00:00', archive_after = '2026-01-01T00:03:00+00:00' where epoch = 2;
