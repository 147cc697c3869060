time-just-now = just now
time-seconds-ago = { $count } s ago
time-minutes-ago = { $count } min ago
time-hours-ago = { $count } h ago
