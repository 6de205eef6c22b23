-- compatible: 1

-- The place of the oldest entry that was not dropped. It stands apart from the head, so that
-- dropping keeps nobody from appending.
create table kept (
    one   boolean primary key default true check (one),
    first bigint  not null check (first > 0)
);

insert into kept (first) values (1);
