-- Several images of one project: the stage of the first, and the others.
alter table projects add column image_target text;
alter table projects add column more_images jsonb not null default '[]';
