-- The second step of a build that failed took what the first one made, and ran twice.
update steps set inputs = '[1]', paused_ms = 1500 where number = 2;
