-- Triggers that people made. "kind" has the bits of pg_trigger.tgtype.
select
    t.tgrelid as table_oid,
    t.tgname::text as name,
    t.tgtype::integer as kind,
    t.tgenabled in ('O', 'A') as enabled,
    p.proname::text as function,
    array(
        select a.attname::text
        from unnest(t.tgattr::smallint[]) with ordinality k (attnum, n)
        join pg_catalog.pg_attribute a on a.attrelid = t.tgrelid and a.attnum = k.attnum
        order by k.n
    ) as columns,
    t.tgqual is not null as conditional,
    t.tgconstraint <> 0 as deferred,
    t.tgoldtable::text as old_rows,
    t.tgnewtable::text as new_rows,
    t.tgnargs > 0
    or (t.tgconstraint <> 0 and not (t.tgdeferrable and t.tginitdeferred))
    or t.tgconstrrelid <> 0
    or t.tgenabled not in ('O', 'D')
    or p.pronamespace <> c.relnamespace as special,
    pg_catalog.pg_get_triggerdef(t.oid)
    || case t.tgenabled when 'A' then ' (enabled always)' when 'R' then ' (enabled on replicas)'
        else '' end as definition
from pg_catalog.pg_trigger t
join pg_catalog.pg_class c on c.oid = t.tgrelid
join pg_catalog.pg_proc p on p.oid = t.tgfoid
where c.relnamespace = %(schema)s::oid
    and c.relkind in ('r', 'p')
    and not t.tgisinternal
