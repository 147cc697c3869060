-- A minute of the sample's pool, and when its status was sent.
insert into fleet_samples (minute, pool, slots, running, waiting) values (29453760, 'local/standard/linux-amd64', 4, 2, 3);
update statuses set sent_at = '2026-01-01T00:00:00+00:00';
