-- What forges tell beyond a push: changes by number, renamed repositories, deliveries that never came, Apps.

alter table builds add column change_number integer;
-- When it was told of, by the forge's clock: news of a change may come in any order.
alter table builds add column told_at text;
create index builds_by_change on builds (project_id, change_number) where change_number is not null;

-- When a change was closed last: what was told before that is not built any more, however late it comes.
create table closed_changes (
    project_id blob not null references projects (id),
    number integer not null,
    closed_at text not null,
    primary key (project_id, number)
) strict;

-- The forge's own id of the repository, which survives a rename.
alter table projects add column repo_id text;
-- Why it is paused, where the service paused it.
alter table projects add column paused_reason text;
-- Failures in a row count from here on; from its making unless set.
alter table projects add column counted_from text;
-- A key of its own to clone with, over ssh.
alter table projects add column deploy_key_sealed blob;
alter table projects add column deploy_key_public text;


-- A body too large for a row lies in object storage, under this name.
alter table delivery_payloads add column body_blob text;
create index delivery_payloads_by_blob on delivery_payloads (body_blob) where body_blob is not null;

-- The check run that shows the status, where the forge has such.
alter table statuses add column check_run_build blob;
alter table statuses add column check_run_id integer;

-- When the refs of an active project's repository are looked at again, and how that went. A paused one has no row.
create table reconciliations (
    project_id blob primary key references projects (id),
    next_at text not null,
    lease_owner blob,
    lease_until text,
    -- Since then a ref that points elsewhere than we know owes a build; before, it is only noted.
    noted_at text,
    looked_at text,
    failures integer not null,
    last_error text
) strict;
create index reconciliations_due on reconciliations (next_at);
insert into reconciliations (project_id, next_at, failures) select id, created_at, 0 from projects where state = 'active';

create table github_apps (
    -- Opaque: its hook's URL ends with it.
    id blob primary key,
    tenant_id blob not null references tenants (id),
    base_url text,
    app_id integer not null,
    slug text not null,
    key_sealed blob not null,
    secret_sealed blob not null,
    created_at text not null,
    -- Deliveries that failed are asked for again.
    next_at text not null,
    lease_owner blob,
    lease_until text,
    last_error text
) strict;
create unique index github_apps_once on github_apps (app_id, coalesce(base_url, ''));
create index github_apps_due on github_apps (next_at);

alter table connections add column github_app_id blob references github_apps (id);
alter table connections add column installation_id integer;
create index connections_by_installation on connections (github_app_id, installation_id)
    where github_app_id is not null;
