-- The first schema. The same tables and columns stand in ../postgres; a test compares them.

create table tenants (
    id blob primary key,
    name text not null unique,
    class text not null,
    created_at text not null
) strict;

-- One narrow hot row per tenant: raised by the scheduler's admission, lowered by whoever takes a job out
-- of ready..cancelling, each in the transaction of that change.
create table tenant_running (
    tenant_id blob primary key references tenants (id),
    running integer not null check (running >= 0),
    running_limit integer not null check (running_limit >= 0)
) strict;

create table api_tokens (
    id blob primary key,
    tenant_id blob references tenants (id),
    role text not null,
    name text not null,
    hash blob not null unique,
    created_at text not null,
    revoked_at text
) strict;

create table web_sessions (
    hash blob primary key,
    token_id blob not null references api_tokens (id),
    created_at text not null,
    expires_at text not null
) strict;

create table connections (
    id blob primary key,
    tenant_id blob not null references tenants (id),
    kind text not null,
    base_url text,
    token_sealed blob,
    created_at text not null
) strict;

create table registries (
    id blob primary key,
    tenant_id blob not null references tenants (id),
    host text not null,
    username text not null,
    password_sealed blob not null,
    created_at text not null,
    unique (tenant_id, host)
) strict;

create table projects (
    id blob primary key,
    tenant_id blob not null references tenants (id),
    connection_id blob not null references connections (id),
    name text not null,
    repo_path text not null,
    clone_url text not null,
    image_repository text,
    image_tags text,
    visibility text not null,
    options text not null,
    region text,
    state text not null,
    created_at text not null,
    updated_at text not null,
    unique (tenant_id, name)
) strict;

create table hooks (
    id blob primary key,
    project_id blob not null references projects (id),
    secret_sealed blob not null,
    previous_sealed blob,
    created_at text not null
) strict;
create index hooks_by_project on hooks (project_id);

create table deliveries (
    id blob primary key,
    hook_id blob not null references hooks (id),
    project_id blob not null references projects (id),
    tenant_id blob not null references tenants (id),
    delivery_key text not null,
    event text not null,
    auth text not null,
    state text not null,
    reason text,
    body_deleted_at text,
    received_at text not null,
    finished_at text,
    attempts integer not null,
    next_at text not null,
    lease_owner blob,
    lease_until text,
    unique (hook_id, delivery_key)
) strict;
create index deliveries_due on deliveries (next_at) where state = 'received';
create index deliveries_by_tenant on deliveries (tenant_id, id);
create index deliveries_finished on deliveries (finished_at) where finished_at is not null;
create index deliveries_with_body on deliveries (finished_at) where body_deleted_at is null;

-- What came in with a delivery. Beside its row: SQLite writes a row whole whenever it changes.
create table delivery_payloads (
    delivery_id blob primary key references deliveries (id),
    headers text not null,
    body blob not null
) strict;

-- The n-th time that a hook told of one and the same move. Two hooks count apart, so a second hook doubles
-- nothing, while A->B, B->A, A->B are three moves.
create table delivery_moves (
    delivery_id blob not null references deliveries (id),
    event_index integer not null,
    hook_id blob not null references hooks (id),
    move_key text not null,
    n integer not null,
    primary key (delivery_id, event_index),
    unique (hook_id, move_key, n)
) strict;

create table ref_heads (
    project_id blob not null references projects (id),
    ref text not null,
    head text,
    head_order integer not null,
    updated_at text not null,
    primary key (project_id, ref)
) strict;

create table builds (
    id blob primary key,
    tenant_id blob not null references tenants (id),
    project_id blob not null references projects (id),
    state text not null,
    -- The state that the reporter last turned into a wanted status.
    reported text not null default '',
    trigger text not null,
    ref text,
    commit_id text not null,
    before_id text,
    ref_order integer,
    -- Its move began where no known one ended; what is told later may come before it.
    unlinked integer not null default false,
    dedupe_key text not null,
    rerun_of blob references builds (id),
    title text,
    actor text,
    created_at text not null,
    started_at text,
    finished_at text,
    unique (project_id, dedupe_key)
) strict;
create index builds_by_project on builds (project_id, id);
create index builds_by_tenant on builds (tenant_id, id);
create index builds_by_ref on builds (project_id, ref, ref_order);
create index builds_unlinked on builds (project_id, ref, before_id) where unlinked;
create index builds_unreported on builds (id) where reported <> state;

create table delivery_builds (
    delivery_id blob not null references deliveries (id),
    build_id blob not null references builds (id),
    primary key (delivery_id, build_id)
) strict;

-- Narrow and hot; the spec lies beside it. Every change is a compare-and-set on version.
create table jobs (
    id blob primary key,
    build_id blob not null references builds (id),
    tenant_id blob not null references tenants (id),
    project_id blob not null references projects (id),
    kind text not null,
    state text not null,
    pool text not null,
    version integer not null,
    epoch integer not null,
    infra_retries integer not null,
    dispatch_id blob,
    leave_epoch integer,
    avoid_builder blob,
    avoid_until text,
    cancelled_by text,
    timeout_secs integer not null,
    queued_at text not null,
    not_before text not null,
    deadline_at text,
    finished_at text,
    -- Every live row has a deadline.
    check (deadline_at is not null
        or state in ('succeeded', 'failed', 'timed_out', 'errored', 'cancelled', 'skipped'))
) strict;
create index jobs_by_build on jobs (build_id);
create index jobs_queued on jobs (not_before) where state = 'queued';
create index jobs_ready on jobs (pool) where state in ('ready', 'dispatched');
create index jobs_live on jobs (deadline_at) where deadline_at is not null;

create table job_specs (
    job_id blob primary key references jobs (id),
    spec text not null
) strict;

create table join_tokens (
    id blob primary key,
    hash blob not null unique,
    pool text not null,
    created_at text not null,
    revoked_at text
) strict;

create table builders (
    id blob primary key,
    join_token_id blob not null references join_tokens (id),
    key_hash blob not null,
    name text not null,
    pool text not null,
    slots integer not null,
    release text not null,
    shared_engine integer not null,
    serves_tenant blob,
    -- An operator wants it to take nothing, until one says otherwise.
    drained integer not null,
    created_at text not null
) strict;

-- The row that holds the lease of everything a builder runs.
create table sessions (
    id blob primary key,
    builder_id blob not null references builders (id),
    token_hash blob not null unique,
    pool text not null,
    state text not null,
    free integer not null,
    -- The builder says that it takes nothing new and leaves; this ends with its process.
    draining integer not null,
    load text not null,
    opened_at text not null,
    renewed_at text not null,
    channel_closed_at text,
    closed_at text,
    close_reason text
) strict;
create unique index sessions_one_open on sessions (builder_id) where state = 'open';
create index sessions_by_builder on sessions (builder_id, opened_at);

create table attempts (
    job_id blob not null references jobs (id),
    epoch integer not null,
    claim_id blob not null unique,
    builder_id blob not null references builders (id),
    session_id blob not null references sessions (id),
    token_hash blob not null,
    state text not null,
    phase text not null,
    outcome text,
    failure text,
    images text not null,
    started_at text not null,
    finished_at text,
    primary key (job_id, epoch),
    check ((state = 'open') = (outcome is null))
) strict;
create unique index attempts_one_open on attempts (job_id) where state = 'open';
create index attempts_by_session on attempts (session_id) where state = 'open';

create table steps (
    job_id blob not null,
    epoch integer not null,
    digest text not null,
    number integer not null,
    name text not null,
    state text not null,
    cached integer not null,
    started_at text,
    finished_at text,
    exit_code integer,
    primary key (job_id, epoch, digest),
    foreign key (job_id, epoch) references attempts (job_id, epoch)
) strict;

-- Who may move a tag now, and which build it shows.
create table tag_leases (
    registry text not null,
    repository text not null,
    tag text not null,
    version integer not null,
    holder_job blob,
    holder_epoch integer,
    holder_until text,
    -- What the holder is putting there.
    holder_digest text,
    shown_job blob,
    shown_digest text,
    primary key (registry, repository, tag)
) strict;
create index tag_leases_held on tag_leases (holder_until) where holder_until is not null;

-- The newest build of each ref that a tag ever showed; refs may share a tag, and each keeps its own order.
create table tag_builds (
    registry text not null,
    repository text not null,
    tag text not null,
    project_id blob not null references projects (id),
    ref text not null,
    build_id blob not null references builds (id),
    primary key (registry, repository, tag, project_id, ref)
) strict;

create table leaders (
    name text primary key,
    holder blob not null,
    term integer not null,
    expires_at text not null
) strict;

-- What a forge should show for a commit, sent until acknowledged, never an older one after a newer.
create table statuses (
    connection_id blob not null references connections (id),
    repo_path text not null,
    commit_id text not null,
    context text not null,
    tenant_id blob not null references tenants (id),
    build_id blob not null references builds (id),
    ref text,
    wanted text not null,
    wanted_seq integer not null,
    sent_seq integer not null,
    -- GitLab's pipeline, to be named with every later status of the commit.
    pipeline_id integer,
    state text not null,
    last_error text,
    attempts integer not null,
    next_at text not null,
    lease_owner blob,
    lease_until text,
    primary key (connection_id, repo_path, commit_id, context)
) strict;
create index statuses_due on statuses (next_at) where state = 'due';

create table idempotency_keys (
    token_id blob not null,
    key text not null,
    request_hash blob not null,
    status integer,
    body_sealed blob,
    created_at text not null,
    primary key (token_id, key)
) strict;

create table attempt_logs (
    job_id blob not null references jobs (id),
    epoch integer not null,
    state text not null,
    durable integer not null,
    lines integer not null,
    end_offset integer,
    sha256 text,
    created_at text not null,
    ended_at text,
    sealed_at text,
    -- Sealing it failed; others come first until then.
    seal_after text,
    primary key (job_id, epoch)
) strict;
create index attempt_logs_open on attempt_logs (created_at) where state = 'open';

create table log_segments (
    job_id blob not null,
    epoch integer not null,
    start_offset integer not null,
    end_offset integer not null,
    first_line integer not null,
    lines integer not null,
    primary key (job_id, epoch, start_offset),
    foreign key (job_id, epoch) references attempt_logs (job_id, epoch)
) strict;
