-- Rows as the first release could leave them behind, in every table. Secrets are sealed with the key of samples.rs.
insert into tenants (id, name, class, created_at) values ({id 1}, 'sample', 'standard', '2026-01-01T00:00:00+00:00');
insert into tenant_running (tenant_id, running, running_limit) values ({id 1}, 3, 5);
insert into api_tokens (id, tenant_id, role, name, hash, created_at)
values ({id 2}, {id 1}, 'owner', 'first', {bytes aa}, '2026-01-01T00:00:00+00:00');
insert into web_sessions (hash, token_id, created_at, expires_at)
values ({bytes bb}, {id 2}, '2026-01-01T00:00:00+00:00', '2026-01-02T00:00:00+00:00');
insert into connections (id, tenant_id, kind, base_url, token_sealed, created_at)
values ({id 3}, {id 1}, 'github', null, {bytes 27d9380d4b79bfd20b36cf1086788b72369674ecdfb1ad8869dd1f24971c26bcc46b02f575ab9df6f6a4b7790601f6541ee2de}, '2026-01-01T00:00:00+00:00');
insert into registries (id, tenant_id, host, username, password_sealed, created_at)
values ({id 13}, {id 1}, 'registry.example', 'anna', {bytes 7f78bd18de2e3392cff6f07664045ec86a4783ceb991dea1a1598645cfbbd657f48596adb15e6ca1089d49e834f99085}, '2026-01-01T00:00:00+00:00');
insert into projects (id, tenant_id, connection_id, name, repo_path, clone_url, image_repository, image_tags, visibility,
    options, region, state, created_at, updated_at)
values ({id 4}, {id 1}, {id 3}, 'app', 'acme/app', 'https://github.com/acme/app.git', 'registry.example/app', null,
    'private', {json "target":"run"}, null, 'active', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00');
insert into hooks (id, project_id, secret_sealed, created_at)
values ({id 5}, {id 4}, {bytes aa15cb11694f48e0849a0aaa8bb6655e9eefd1a0a3b05d7006dbf183424ee895a9614b3ef0b5220b5c4ce8997cbd5ce9cb7608}, '2026-01-01T00:00:00+00:00');
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

-- One job in each state that a process of the first release may be in the middle of.
insert into builds (id, tenant_id, project_id, state, trigger, ref, commit_id, before_id, ref_order, dedupe_key, rerun_of,
    title, actor, created_at, started_at, finished_at)
values
    ({id 9}, {id 1}, {id 4}, 'running', 'push', 'refs/heads/main', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 2, 'push:2', null,
    'a title', 'anna', '2026-01-01T00:00:00+00:00', '2026-01-01T00:01:00+00:00', null),
    ({id 16}, {id 1}, {id 4}, 'failed', 'rerun', 'refs/heads/main', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', null, 1, 'rerun:1', {id 7},
    null, null, '2026-01-01T00:00:00+00:00', '2026-01-01T00:01:00+00:00', '2026-01-01T00:03:00+00:00'),
    ({id 21}, {id 1}, {id 4}, 'pending', 'manual', null, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', null, null, 'manual:1', null,
    null, 'anna', '2026-01-01T00:00:00+00:00', null, null),
    ({id 23}, {id 1}, {id 4}, 'running', 'tag', 'refs/tags/v1', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', null, 1, 'tag:1', null,
    null, null, '2026-01-01T00:00:00+00:00', '2026-01-01T00:01:00+00:00', null);
insert into jobs (id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, infra_retries, dispatch_id,
    leave_epoch, avoid_builder, avoid_until, cancelled_by, timeout_secs, queued_at, not_before, deadline_at, finished_at)
values
    ({id 10}, {id 9}, {id 1}, {id 4}, 'image', 'running', 'local/standard/linux-amd64', 5, 1, 0, null, 1, null, null,
    null, 3600, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', '2026-01-01T01:02:00+00:00', null),
    ({id 17}, {id 16}, {id 1}, {id 4}, 'image', 'failed', 'local/standard/linux-amd64', 9, 2, 1, null, 2, {id 11},
    '2026-01-01T00:01:40+00:00', null, 3600, '2026-01-01T00:01:30+00:00', '2026-01-01T00:01:30+00:00', null,
    '2026-01-01T00:03:00+00:00'),
    ({id 20}, {id 21}, {id 1}, {id 4}, 'image', 'ready', 'local/standard/linux-amd64', 2, 0, 0, null, null, null, null,
    null, 3600, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', '2026-01-02T00:00:00+00:00', null),
    ({id 22}, {id 23}, {id 1}, {id 4}, 'image', 'cancelling', 'local/standard/linux-amd64', 6, 1, 0, null, null, null,
    null, 'user', 3600, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', '2026-01-01T00:05:00+00:00', null);
insert into job_specs (job_id, spec) values ({id 8}, {file job_spec}), ({id 10}, {file job_spec});
insert into join_tokens (id, hash, pool, created_at)
values ({id 14}, {bytes a1}, 'local/standard/linux-amd64', '2026-01-01T00:00:00+00:00');
insert into builders (id, join_token_id, key_hash, name, pool, slots, release, shared_engine, serves_tenant, drained,
    created_at)
values ({id 11}, {id 14}, {bytes a2}, 'builder-1', 'local/standard/linux-amd64', 4, '0.1.0', true, {id 1}, true,
    '2026-01-01T00:00:00+00:00');
insert into sessions (id, builder_id, token_hash, pool, state, free, draining, load, opened_at, renewed_at,
    channel_closed_at, closed_at, close_reason)
values
    ({id 12}, {id 11}, {bytes a3}, 'local/standard/linux-amd64', 'open', 1, false, {file load},
    '2026-01-01T00:01:30+00:00', '2026-01-01T00:04:00+00:00', '2026-01-01T00:04:01+00:00', null, null),
    ({id 18}, {id 11}, {bytes a4}, 'local/standard/linux-amd64', 'closed', 0, true, {file load},
    '2026-01-01T00:00:00+00:00', '2026-01-01T00:01:00+00:00', null, '2026-01-01T00:01:25+00:00', 'lost');
insert into attempts (job_id, epoch, claim_id, builder_id, session_id, token_hash, state, phase, outcome, failure, images,
    started_at, finished_at)
values
    ({id 10}, 1, {id 31}, {id 11}, {id 12}, {bytes b1}, 'open', 'pushing', null, null, '[]',
    '2026-01-01T00:01:30+00:00', null),
    ({id 17}, 1, {id 32}, {id 11}, {id 18}, {bytes b2}, 'closed', 'building', 'lost', {file failure}, '[]',
    '2026-01-01T00:01:00+00:00', '2026-01-01T00:01:25+00:00'),
    ({id 17}, 2, {id 33}, {id 11}, {id 12}, {bytes b3}, 'closed', 'pushing', 'failed', {file failure},
    {file images}, '2026-01-01T00:02:00+00:00', '2026-01-01T00:03:00+00:00'),
    ({id 22}, 1, {id 34}, {id 11}, {id 12}, {bytes b4}, 'open', 'building', null, null, '[]',
    '2026-01-01T00:02:00+00:00', null);
insert into steps (job_id, epoch, digest, number, name, state, cached, started_at, finished_at, exit_code)
values
    ({id 17}, 2, 'sha256:1', 1, '[1/2] FROM alpine', 'succeeded', true, null, null, null),
    ({id 17}, 2, 'sha256:2', 2, '[2/2] RUN make', 'failed', false, '2026-01-01T00:02:01+00:00',
    '2026-01-01T00:03:00+00:00', 2),
    ({id 22}, 1, 'sha256:1', 1, '[1/2] FROM alpine', 'running', false, '2026-01-01T00:02:01+00:00', null, null);
insert into tag_leases (registry, repository, tag, version, holder_job, holder_epoch, holder_until, holder_digest,
    shown_job, shown_digest)
values
    ('registry.example', 'app', 'main', 3, {id 10}, 1, '2026-01-01T00:02:00+00:00', 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', {id 17}, 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'),
    ('registry.example', 'app', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 2, null, null, null, null, {id 17}, 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
insert into tag_builds (registry, repository, tag, project_id, ref, build_id)
values ('registry.example', 'app', 'main', {id 4}, 'refs/heads/main', {id 16});
insert into leaders (name, holder, term, expires_at)
values ('scheduler', {id 40}, 3, '2026-01-01T00:04:00+00:00');
insert into attempt_logs (job_id, epoch, state, durable, lines, end_offset, sha256, created_at, ended_at, sealed_at,
    seal_after)
values
    ({id 10}, 1, 'open', 10, 1, 10, 'aa', '2026-01-01T00:01:30+00:00', '2026-01-01T00:04:00+00:00', null,
    '2026-01-01T00:04:30+00:00'),
    ({id 17}, 1, 'cut', 0, 0, null, null, '2026-01-01T00:01:00+00:00', null, '2026-01-01T00:03:00+00:00', null),
    ({id 17}, 2, 'sealed', 40, 3, 40, 'bb', '2026-01-01T00:02:00+00:00', '2026-01-01T00:03:00+00:00',
    '2026-01-01T00:03:00+00:00', null),
    ({id 22}, 1, 'open', 0, 0, null, null, '2026-01-01T00:02:00+00:00', null, null, null);
insert into log_segments (job_id, epoch, start_offset, end_offset, first_line, lines)
values ({id 10}, 1, 0, 10, 0, 1), ({id 17}, 2, 0, 25, 0, 2), ({id 17}, 2, 25, 40, 2, 1);
