-- Bytes of all objects of a log so far: where the next one lies in its archive, the one object that a sealed log becomes.
alter table attempt_logs add column stored_bytes integer not null default 0;
alter table attempt_logs add column archived_at text;
-- When to look at it next: to archive it, or else to remove the segments that are in its archive.
alter table attempt_logs add column archive_after text;
create index attempt_logs_to_archive on attempt_logs (archive_after) where archive_after is not null;
alter table log_segments add column object_start integer;
alter table log_segments add column object_bytes integer;
