-- The first step of a build that failed pulled its layers.
update steps set moved_bytes = 12300000, total_bytes = 80100000 where number = 1;
