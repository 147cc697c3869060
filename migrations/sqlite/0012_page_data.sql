-- What the pages show of the past. One row per pool and minute: slots that builders had, and jobs that wanted them.
create table fleet_samples (
    -- Minutes since 1970.
    minute integer not null,
    pool text not null,
    slots integer not null,
    running integer not null,
    waiting integer not null,
    primary key (minute, pool)
) strict;

-- When the forge took it last.
alter table statuses add column sent_at text;

create index delivery_builds_by_build on delivery_builds (build_id);
create index statuses_by_build on statuses (build_id);
