-- The first schema. The same tables and columns stand in ../sqlite; a test compares them.

create table tenants (
    id uuid primary key,
    name text not null unique,
    class text not null,
    created_at timestamptz not null
);

-- One narrow hot row per tenant: raised by the scheduler's admission, lowered by whoever takes a job out
-- of ready..cancelling, each in the transaction of that change.
create table tenant_running (
    tenant_id uuid primary key references tenants (id),
    running bigint not null check (running >= 0),
    running_limit bigint not null check (running_limit >= 0)
);

create table api_tokens (
    id uuid primary key,
    tenant_id uuid references tenants (id),
    role text not null,
    name text not null,
    hash bytea not null unique,
    created_at timestamptz not null,
    revoked_at timestamptz
);

create table web_sessions (
    hash bytea primary key,
    token_id uuid not null references api_tokens (id),
    created_at timestamptz not null,
    expires_at timestamptz not null
);

create table connections (
    id uuid primary key,
    tenant_id uuid not null references tenants (id),
    kind text not null,
    base_url text,
    token_sealed bytea,
    created_at timestamptz not null
);

create table registries (
    id uuid primary key,
    tenant_id uuid not null references tenants (id),
    host text not null,
    username text not null,
    password_sealed bytea not null,
    created_at timestamptz not null,
    unique (tenant_id, host)
);

create table projects (
    id uuid primary key,
    tenant_id uuid not null references tenants (id),
    connection_id uuid not null references connections (id),
    name text not null,
    repo_path text not null,
    clone_url text not null,
    image_repository text,
    image_tags jsonb,
    visibility text not null,
    options jsonb not null,
    region text,
    state text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    unique (tenant_id, name)
);

create table hooks (
    id uuid primary key,
    project_id uuid not null references projects (id),
    secret_sealed bytea not null,
    previous_sealed bytea,
    created_at timestamptz not null
);
create index hooks_by_project on hooks (project_id);

create table deliveries (
    id uuid primary key,
    hook_id uuid not null references hooks (id),
    project_id uuid not null references projects (id),
    tenant_id uuid not null references tenants (id),
    delivery_key text not null,
    event text not null,
    auth text not null,
    state text not null,
    reason text,
    body_deleted_at timestamptz,
    received_at timestamptz not null,
    finished_at timestamptz,
    attempts bigint not null,
    next_at timestamptz not null,
    lease_owner uuid,
    lease_until timestamptz,
    unique (hook_id, delivery_key)
);
create index deliveries_due on deliveries (next_at) where state = 'received';
create index deliveries_by_tenant on deliveries (tenant_id, id);
create index deliveries_finished on deliveries (finished_at) where finished_at is not null;
create index deliveries_with_body on deliveries (finished_at) where body_deleted_at is null;

-- What came in with a delivery. Beside its row: SQLite writes a row whole whenever it changes.
create table delivery_payloads (
    delivery_id uuid primary key references deliveries (id),
    headers jsonb not null,
    body bytea not null
);

-- The n-th time that a hook told of one and the same move. Two hooks count apart, so a second hook doubles
-- nothing, while A->B, B->A, A->B are three moves.
create table delivery_moves (
    delivery_id uuid not null references deliveries (id),
    event_index bigint not null,
    hook_id uuid not null references hooks (id),
    move_key text not null,
    n bigint not null,
    primary key (delivery_id, event_index),
    unique (hook_id, move_key, n)
);

create table ref_heads (
    project_id uuid not null references projects (id),
    ref text not null,
    head text,
    head_order bigint not null,
    updated_at timestamptz not null,
    primary key (project_id, ref)
);

create table builds (
    id uuid primary key,
    tenant_id uuid not null references tenants (id),
    project_id uuid not null references projects (id),
    state text not null,
    -- The state that the reporter last turned into a wanted status.
    reported text not null default '',
    trigger text not null,
    ref text,
    commit_id text not null,
    before_id text,
    ref_order bigint,
    -- Its move began where no known one ended; what is told later may come before it.
    unlinked boolean not null default false,
    dedupe_key text not null,
    rerun_of uuid references builds (id),
    title text,
    actor text,
    created_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz,
    unique (project_id, dedupe_key)
);
create index builds_by_project on builds (project_id, id);
create index builds_by_tenant on builds (tenant_id, id);
create index builds_by_ref on builds (project_id, ref, ref_order);
create index builds_unlinked on builds (project_id, ref, before_id) where unlinked;
create index builds_unreported on builds (id) where reported <> state;

create table delivery_builds (
    delivery_id uuid not null references deliveries (id),
    build_id uuid not null references builds (id),
    primary key (delivery_id, build_id)
);

-- Narrow and hot; the spec lies beside it. Every change is a compare-and-set on version.
create table jobs (
    id uuid primary key,
    build_id uuid not null references builds (id),
    tenant_id uuid not null references tenants (id),
    project_id uuid not null references projects (id),
    kind text not null,
    state text not null,
    pool text not null,
    version bigint not null,
    epoch bigint not null,
    infra_retries bigint not null,
    dispatch_id uuid,
    leave_epoch bigint,
    avoid_builder uuid,
    avoid_until timestamptz,
    cancelled_by text,
    timeout_secs bigint not null,
    queued_at timestamptz not null,
    not_before timestamptz not null,
    deadline_at timestamptz,
    finished_at timestamptz,
    -- Every live row has a deadline.
    check (deadline_at is not null
        or state in ('succeeded', 'failed', 'timed_out', 'errored', 'cancelled', 'skipped'))
);
create index jobs_by_build on jobs (build_id);
create index jobs_queued on jobs (not_before) where state = 'queued';
create index jobs_ready on jobs (pool) where state in ('ready', 'dispatched');
create index jobs_live on jobs (deadline_at) where deadline_at is not null;

create table job_specs (
    job_id uuid primary key references jobs (id),
    spec jsonb not null
);

create table join_tokens (
    id uuid primary key,
    hash bytea not null unique,
    pool text not null,
    created_at timestamptz not null,
    revoked_at timestamptz
);

create table builders (
    id uuid primary key,
    join_token_id uuid not null references join_tokens (id),
    key_hash bytea not null,
    name text not null,
    pool text not null,
    slots bigint not null,
    release text not null,
    shared_engine boolean not null,
    serves_tenant uuid,
    -- An operator wants it to take nothing, until one says otherwise.
    drained boolean not null,
    created_at timestamptz not null
);

-- The row that holds the lease of everything a builder runs.
create table sessions (
    id uuid primary key,
    builder_id uuid not null references builders (id),
    token_hash bytea not null unique,
    pool text not null,
    state text not null,
    free bigint not null,
    -- The builder says that it takes nothing new and leaves; this ends with its process.
    draining boolean not null,
    load jsonb not null,
    opened_at timestamptz not null,
    renewed_at timestamptz not null,
    channel_closed_at timestamptz,
    closed_at timestamptz,
    close_reason text
);
create unique index sessions_one_open on sessions (builder_id) where state = 'open';
create index sessions_by_builder on sessions (builder_id, opened_at);

create table attempts (
    job_id uuid not null references jobs (id),
    epoch bigint not null,
    claim_id uuid not null unique,
    builder_id uuid not null references builders (id),
    session_id uuid not null references sessions (id),
    token_hash bytea not null,
    state text not null,
    phase text not null,
    outcome text,
    failure jsonb,
    images jsonb not null,
    started_at timestamptz not null,
    finished_at timestamptz,
    primary key (job_id, epoch),
    check ((state = 'open') = (outcome is null))
);
create unique index attempts_one_open on attempts (job_id) where state = 'open';
create index attempts_by_session on attempts (session_id) where state = 'open';

create table steps (
    job_id uuid not null,
    epoch bigint not null,
    digest text not null,
    number bigint not null,
    name text not null,
    state text not null,
    cached boolean not null,
    started_at timestamptz,
    finished_at timestamptz,
    exit_code bigint,
    primary key (job_id, epoch, digest),
    foreign key (job_id, epoch) references attempts (job_id, epoch)
);

-- Who may move a tag now, and which build it shows.
create table tag_leases (
    registry text not null,
    repository text not null,
    tag text not null,
    version bigint not null,
    holder_job uuid,
    holder_epoch bigint,
    holder_until timestamptz,
    -- What the holder is putting there.
    holder_digest text,
    shown_job uuid,
    shown_digest text,
    primary key (registry, repository, tag)
);
create index tag_leases_held on tag_leases (holder_until) where holder_until is not null;

-- The newest build of each ref that a tag ever showed; refs may share a tag, and each keeps its own order.
create table tag_builds (
    registry text not null,
    repository text not null,
    tag text not null,
    project_id uuid not null references projects (id),
    ref text not null,
    build_id uuid not null references builds (id),
    primary key (registry, repository, tag, project_id, ref)
);

create table leaders (
    name text primary key,
    holder uuid not null,
    term bigint not null,
    expires_at timestamptz not null
);

-- What a forge should show for a commit, sent until acknowledged, never an older one after a newer.
create table statuses (
    connection_id uuid not null references connections (id),
    repo_path text not null,
    commit_id text not null,
    context text not null,
    tenant_id uuid not null references tenants (id),
    build_id uuid not null references builds (id),
    ref text,
    wanted text not null,
    wanted_seq bigint not null,
    sent_seq bigint not null,
    -- GitLab's pipeline, to be named with every later status of the commit.
    pipeline_id bigint,
    state text not null,
    last_error text,
    attempts bigint not null,
    next_at timestamptz not null,
    lease_owner uuid,
    lease_until timestamptz,
    primary key (connection_id, repo_path, commit_id, context)
);
create index statuses_due on statuses (next_at) where state = 'due';

create table idempotency_keys (
    token_id uuid not null,
    key text not null,
    request_hash bytea not null,
    status bigint,
    body_sealed bytea,
    created_at timestamptz not null,
    primary key (token_id, key)
);

create table attempt_logs (
    job_id uuid not null references jobs (id),
    epoch bigint not null,
    state text not null,
    durable bigint not null,
    lines bigint not null,
    end_offset bigint,
    sha256 text,
    created_at timestamptz not null,
    ended_at timestamptz,
    sealed_at timestamptz,
    -- Sealing it failed; others come first until then.
    seal_after timestamptz,
    primary key (job_id, epoch)
);
create index attempt_logs_open on attempt_logs (created_at) where state = 'open';

create table log_segments (
    job_id uuid not null,
    epoch bigint not null,
    start_offset bigint not null,
    end_offset bigint not null,
    first_line bigint not null,
    lines bigint not null,
    primary key (job_id, epoch, start_offset),
    foreign key (job_id, epoch) references attempt_logs (job_id, epoch)
);
