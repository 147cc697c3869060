-- What builds may read as secret mounts: a project's own, and its tenant's for all of its projects.
create table secrets (
    id uuid primary key,
    tenant_id uuid not null references tenants (id),
    project_id uuid references projects (id),
    name text not null,
    value_sealed bytea not null,
    -- Which builds get it.
    reach jsonb not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create unique index secrets_of_projects on secrets (project_id, name) where project_id is not null;
create unique index secrets_of_tenants on secrets (tenant_id, name) where project_id is null;
