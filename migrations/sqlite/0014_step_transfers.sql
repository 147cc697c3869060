-- What a step has moved of layers and files so far, and what of that is known to be all of it.
alter table steps add column moved_bytes integer;
alter table steps add column total_bytes integer;
