-- What people should know of an attempt beside how it ended: warnings, and what its log does not hold.
alter table attempts add column remarks text not null default '{}';
