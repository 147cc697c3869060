-- Numbers of the steps whose results a step takes, and for how long it stood still between its runs.
alter table steps add column inputs jsonb not null default '[]';
alter table steps add column paused_ms bigint;
