builders-none = No builder yet
builders-how = { $command } starts a local one by itself when a Docker engine answers. To add a machine, make a join token and start the builder there:
builders-busy = Busy
builders-busy-of = { $busy } of { $slots }
builders-cpu = CPU
builders-cpu-load = { $load } per core
builders-memory = Memory
builders-disk-free = Disk free
builders-cache = Cache
builders-cached-projects = { $count ->
    [one] 1 project
   *[other] { $count } projects
}
builders-seen = Seen
builders-drained = drained by an operator
builders-not-taking = takes nothing:{ " " }
builders-drain = Drain
builders-resume = Resume
builders-release = release { $release }
