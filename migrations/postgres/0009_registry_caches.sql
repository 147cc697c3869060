-- Where a project keeps the layers of all its stages, and what it kept there last.
alter table projects add column cache_repository text;
create table registry_caches (
    project_id uuid primary key references projects (id),
    repository text not null,
    digest text not null,
    kept_at timestamptz not null
);
