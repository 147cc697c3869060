time-just-now = just now
time-seconds-ago = { $count } s ago
time-minutes-ago = { $count } min ago
time-hours-ago = { $count } h ago
# How long something took.
time-seconds = { $secs } s
time-minutes = { $mins } min { $secs } s
time-hours = { $hours } h { $mins } min
