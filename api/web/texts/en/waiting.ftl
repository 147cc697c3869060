# Why a build waits.
waiting-approval = Strangers wrote it: it waits until a member with write access approves it.
waiting-next-try = The last try failed by our fault; the next one begins at { $time }.
waiting-plan = The tenant runs as many jobs at once as its plan allows.
waiting-no-builder = No builder of pool { $pool } is online.
waiting-other-tenant = Every builder of pool { $pool } serves another tenant, and one shared engine serves only one. Start another builder, or set SLIPWAY_TRUST_TENANTS=1 on the server if the tenants trust each other.
waiting-nobody = No builder of pool { $pool } takes it at the moment.
waiting-busy = All slots of pool { $pool } are busy.
waiting-not-taking = Builder { $builder } takes nothing at the moment: { $why }.
waiting-soon = A builder takes it in a moment.
waiting-place = { $why } Place { $place } in the queue.
