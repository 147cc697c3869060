-- What the pages show of the past. One row per pool and minute: slots that builders had, and jobs that wanted them.
create table fleet_samples (
    -- Minutes since 1970.
    minute bigint not null,
    pool text not null,
    slots bigint not null,
    running bigint not null,
    waiting bigint not null,
    primary key (minute, pool)
);

-- When the forge took it last.
alter table statuses add column sent_at timestamptz;

create index delivery_builds_by_build on delivery_builds (build_id);
create index statuses_by_build on statuses (build_id);
