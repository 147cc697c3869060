-- Which steps wrote the lines of a stored run of a log; nothing where an older release stored it.
alter table log_segments add column outline text;
