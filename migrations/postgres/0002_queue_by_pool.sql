-- The scheduler takes the oldest jobs of one pool; with this it finds them in a backlog of any length.
create index jobs_queued_by_pool on jobs (pool, id) where state = 'queued';
drop index jobs_queued;
