-- compatible: 1

create table rows (
    tenant bytea    not null check (octet_length(tenant) = 16),
    kind   smallint not null,
    id     bytea    not null,
    value  bytea    not null,
    primary key (tenant, kind, id)
);

create table agenda (
    at     bigint   not null,
    tenant bytea    not null check (octet_length(tenant) = 16),
    kind   smallint not null,
    id     bytea    not null,
    value  bytea    not null,
    primary key (at, tenant, kind, id)
);

create table outbox (
    place bigint primary key check (place > 0),
    entry bytea  not null
);

-- The newest place. Whoever appends holds this row until its commit, so places
-- ascend in commit order; a transaction that comes to nothing gives its places back.
create table head (
    one  boolean primary key default true check (one),
    last bigint  not null check (last >= 0)
);

insert into head (last) values (0);

-- Values are ciphertext: trying to compress them is work for nothing.
alter table rows   alter column value set storage external;
alter table agenda alter column value set storage external;
alter table outbox alter column entry set storage external;
