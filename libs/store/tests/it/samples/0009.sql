-- A cache of the sample's project.
update projects set cache_repository = 'r:5000/cache' where id = {id 4};
insert into registry_caches (project_id, repository, digest, kept_at)
values ({id 4}, 'r:5000/cache', 'sha256:1', '2026-01-01T00:00:00+00:00');
