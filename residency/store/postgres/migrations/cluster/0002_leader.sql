-- compatible: 1

-- Who leads the cluster's background work; nobody has so far.
create table leader (
    one    boolean primary key default true check (one),
    holder bytea  not null check (octet_length(holder) <= 128),
    epoch  bigint not null check (epoch >= 0),
    until  bigint not null
);

insert into leader (holder, epoch, until) values ('', 0, 0);
