-- A secret of a project.
insert into secrets (id, tenant_id, project_id, name, value_sealed, reach, created_at, updated_at)
values ({id 32}, {id 1}, {id 4}, 'npm', {bytes 00}, {json "branches":["main"]}, '2026-01-01T00:00:00+00:00',
    '2026-01-01T00:00:00+00:00');
