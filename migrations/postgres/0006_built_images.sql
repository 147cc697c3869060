-- What attempts built: images with their layers.
alter table attempts add column built jsonb not null default '[]';
