-- Rows as the first schema could hold them, one of each table that later ones refer to.
insert into tenants (id, name, class, created_at) values ({id 1}, 'sample', 'standard', '2026-01-01T00:00:00+00:00');
insert into tenant_running (tenant_id, running, running_limit) values ({id 1}, 1, 2);
insert into api_tokens (id, tenant_id, role, name, hash, created_at)
values ({id 2}, {id 1}, 'owner', 'first', {bytes aa}, '2026-01-01T00:00:00+00:00');
insert into web_sessions (hash, token_id, created_at, expires_at)
values ({bytes bb}, {id 2}, '2026-01-01T00:00:00+00:00', '2026-01-02T00:00:00+00:00');
insert into connections (id, tenant_id, kind, base_url, token_sealed, created_at)
values ({id 3}, {id 1}, 'github', null, {bytes cc}, '2026-01-01T00:00:00+00:00');
insert into registries (id, tenant_id, host, username, password_sealed, created_at)
values ({id 13}, {id 1}, 'registry.example', 'anna', {bytes dd}, '2026-01-01T00:00:00+00:00');
insert into projects (id, tenant_id, connection_id, name, repo_path, clone_url, image_repository, image_tags, visibility,
    options, region, state, created_at, updated_at)
values ({id 4}, {id 1}, {id 3}, 'app', 'acme/app', 'https://github.com/acme/app.git', 'registry.example/app', null,
    'private', {json "target":"run"}, null, 'active', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00');
insert into hooks (id, project_id, secret_sealed, created_at)
values ({id 5}, {id 4}, {bytes ee}, '2026-01-01T00:00:00+00:00');
insert into deliveries (id, hook_id, project_id, tenant_id, delivery_key, event, auth, state, received_at,
    finished_at, attempts, next_at)
values ({id 6}, {id 5}, {id 4}, {id 1}, 'guid', 'push', 'hmac_sha256', 'done',
    '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:01+00:00', 1, '2026-01-01T00:00:00+00:00');
insert into delivery_payloads (delivery_id, headers, body) values ({id 6}, {json }, {bytes 00});
insert into delivery_moves (delivery_id, event_index, hook_id, move_key, n) values ({id 6}, 0, {id 5}, 'move', 1);
insert into ref_heads (project_id, ref, head, head_order, updated_at)
values ({id 4}, 'refs/heads/main', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 1, '2026-01-01T00:00:00+00:00');
insert into builds (id, tenant_id, project_id, state, trigger, ref, commit_id, ref_order, dedupe_key, created_at)
values ({id 7}, {id 1}, {id 4}, 'pending', 'push', 'refs/heads/main', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 1,
    'push:1', '2026-01-01T00:00:00+00:00');
insert into delivery_builds (delivery_id, build_id) values ({id 6}, {id 7});
insert into jobs (id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, infra_retries, timeout_secs,
    queued_at, not_before, deadline_at)
values ({id 8}, {id 7}, {id 1}, {id 4}, 'image', 'queued', 'local/standard/linux-amd64', 1, 0, 0, 60,
    '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', '2026-01-02T00:00:00+00:00');
insert into statuses (connection_id, repo_path, commit_id, context, tenant_id, build_id, wanted, wanted_seq, sent_seq,
    state, attempts, next_at)
values ({id 3}, 'acme/app', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'slipway/app', {id 1}, {id 7}, 'pending', 1, 0,
    'due', 0, '2026-01-01T00:00:00+00:00');
insert into idempotency_keys (token_id, key, request_hash, created_at)
values ({id 2}, 'key', {bytes ff}, '2026-01-01T00:00:00+00:00');
