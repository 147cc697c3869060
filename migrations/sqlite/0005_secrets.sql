-- What builds may read as secret mounts: a project's own, and its tenant's for all of its projects.
create table secrets (
    id blob primary key,
    tenant_id blob not null references tenants (id),
    project_id blob references projects (id),
    name text not null,
    value_sealed blob not null,
    -- Which builds get it.
    reach text not null,
    created_at text not null,
    updated_at text not null
) strict;
create unique index secrets_of_projects on secrets (project_id, name) where project_id is not null;
create unique index secrets_of_tenants on secrets (tenant_id, name) where project_id is null;
