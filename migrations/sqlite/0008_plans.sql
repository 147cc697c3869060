-- What a tenant buys. Its number of jobs follows the plan unless an operator gave it one of its own; 100 was the number
-- of tenants for whom nobody had said anything.
alter table tenants add column plan text not null default 'team';
alter table tenant_running add column own_limit integer not null default 0;
update tenant_running set own_limit = (running_limit <> 100);
