# Why a build waits.
waiting-approval = 由外部人员提交：需要有写权限的成员批准后才会运行。
waiting-next-try = 上一次尝试因服务故障而失败；下一次尝试将于 { $time } 开始。
waiting-plan = 租户同时运行的作业数已达到套餐上限。
waiting-no-builder = 池 { $pool } 没有在线的构建器。
waiting-other-tenant = 池 { $pool } 的所有构建器都在服务其他租户，而一个共享引擎只服务一个租户。请再启动一个构建器；如果租户之间互相信任，也可以在服务器上设置 SLIPWAY_TRUST_TENANTS=1。
waiting-nobody = 池 { $pool } 目前没有构建器接受它。
waiting-busy = 池 { $pool } 的所有槽位都在忙。
waiting-not-taking = 构建器 { $builder } 目前不接受作业：{ $why }。
waiting-soon = 构建器马上就会接手。
waiting-place = { $why }在队列中排第 { $place } 位。
