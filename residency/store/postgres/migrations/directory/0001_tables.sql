-- compatible: 1

create table placements (
    tenant   bytea    primary key check (octet_length(tenant) = 16),
    region   text     collate "C" not null,
    cluster  text     collate "C" not null,
    epoch    bigint   not null check (epoch >= 0),
    state    smallint not null check (state in (1, 2)),
    reserved bigint   not null
);

create index placements_of_region on placements (region, tenant);
