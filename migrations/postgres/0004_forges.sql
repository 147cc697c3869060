-- What forges tell beyond a push: changes by number, renamed repositories, deliveries that never came, Apps.

alter table builds add column change_number bigint;
-- When it was told of, by the forge's clock: news of a change may come in any order.
alter table builds add column told_at timestamptz;
create index builds_by_change on builds (project_id, change_number) where change_number is not null;

-- When a change was closed last: what was told before that is not built any more, however late it comes.
create table closed_changes (
    project_id uuid not null references projects (id),
    number bigint not null,
    closed_at timestamptz not null,
    primary key (project_id, number)
);

-- The forge's own id of the repository, which survives a rename.
alter table projects add column repo_id text;
-- Why it is paused, where the service paused it.
alter table projects add column paused_reason text;
-- Failures in a row count from here on; from its making unless set.
alter table projects add column counted_from timestamptz;
-- A key of its own to clone with, over ssh.
alter table projects add column deploy_key_sealed bytea;
alter table projects add column deploy_key_public text;


-- A body too large for a row lies in object storage, under this name.
alter table delivery_payloads add column body_blob text;
-- The server's own way to compress takes longer than all else about a body; not every server has another.
do $$
begin
    execute 'alter table delivery_payloads alter column body set compression lz4';
exception when others then
    null;
end $$;
create index delivery_payloads_by_blob on delivery_payloads (body_blob) where body_blob is not null;

-- The check run that shows the status, where the forge has such.
alter table statuses add column check_run_build uuid;
alter table statuses add column check_run_id bigint;

-- When the refs of an active project's repository are looked at again, and how that went. A paused one has no row.
create table reconciliations (
    project_id uuid primary key references projects (id),
    next_at timestamptz not null,
    lease_owner uuid,
    lease_until timestamptz,
    -- Since then a ref that points elsewhere than we know owes a build; before, it is only noted.
    noted_at timestamptz,
    looked_at timestamptz,
    failures bigint not null,
    last_error text
);
create index reconciliations_due on reconciliations (next_at);
insert into reconciliations (project_id, next_at, failures) select id, created_at, 0 from projects where state = 'active';

create table github_apps (
    -- Opaque: its hook's URL ends with it.
    id uuid primary key,
    tenant_id uuid not null references tenants (id),
    base_url text,
    app_id bigint not null,
    slug text not null,
    key_sealed bytea not null,
    secret_sealed bytea not null,
    created_at timestamptz not null,
    -- Deliveries that failed are asked for again.
    next_at timestamptz not null,
    lease_owner uuid,
    lease_until timestamptz,
    last_error text
);
create unique index github_apps_once on github_apps (app_id, coalesce(base_url, ''));
create index github_apps_due on github_apps (next_at);

alter table connections add column github_app_id uuid references github_apps (id);
alter table connections add column installation_id bigint;
create index connections_by_installation on connections (github_app_id, installation_id)
    where github_app_id is not null;
