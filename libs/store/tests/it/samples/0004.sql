-- What this schema has beside the first: a change's build, a look at refs, an App.
insert into builds (id, tenant_id, project_id, state, trigger, ref, commit_id, dedupe_key, created_at, change_number, told_at)
values ({id 30}, {id 1}, {id 4}, 'cancelled', 'change', 'refs/pull/5/head', 'cccccccccccccccccccccccccccccccccccccccc',
    'change:5', '2026-01-01T00:00:00+00:00', 5, '2026-01-01T00:00:00+00:00');
update reconciliations set next_at = '2026-01-01T01:00:00+00:00', noted_at = '2026-01-01T00:00:00+00:00',
    looked_at = '2026-01-01T00:00:00+00:00', failures = 1, last_error = 'no answer' where project_id = {id 4};
insert into github_apps (id, tenant_id, base_url, app_id, slug, key_sealed, secret_sealed, created_at, next_at)
values ({id 31}, {id 1}, null, 7, 'slipway', {bytes 00}, {bytes 00}, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00');
insert into closed_changes (project_id, number, closed_at) values ({id 4}, 5, '2026-01-01T00:00:00+00:00');
