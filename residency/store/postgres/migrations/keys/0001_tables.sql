-- compatible: 1

-- Destroyed keys are vacuumed as soon as the server looks for work, not when a
-- share of the table is dead.
create table keys (
    name    bytea primary key check (octet_length(name) <= 64),
    wrapped bytea not null
) with (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0);

alter table keys alter column wrapped set storage external;
