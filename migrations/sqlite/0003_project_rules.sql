-- Which of what a forge tells of is built.
alter table projects add column rules text not null default '{}';
