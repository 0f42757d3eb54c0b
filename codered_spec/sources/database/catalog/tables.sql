-- Ordinary and partitioned tables. "storage" says in words what is not an ordinary table.
select
    c.oid,
    c.relname::text as name,
    pg_catalog.obj_description(c.oid, 'pg_class') as comment,
    c.relrowsecurity as row_security,
    c.relforcerowsecurity as force_row_security,
    nullif(
        concat_ws(
            '; ',
            case when c.relpersistence = 'u' then 'unlogged' end,
            case when c.relkind = 'p'
                then 'partitioned by ' || pg_catalog.pg_get_partkeydef(c.oid) end,
            (
                select
                    case when c.relispartition then 'partition of ' else 'inherits ' end
                    || string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno)
                from pg_catalog.pg_inherits i
                where i.inhrelid = c.oid
            ),
            case when c.relispartition
                then pg_catalog.pg_get_expr(c.relpartbound, c.oid) end,
            (
                select 'inherited by ' || string_agg(i.inhrelid::regclass::text, ', ' order by 1)
                from pg_catalog.pg_inherits i
                where i.inhparent = c.oid and c.relkind <> 'p'
            ),
            case when c.reloftype <> 0 then 'of ' || c.reloftype::regtype::text end,
            case when a.amname <> 'heap' then 'using ' || a.amname end
        ),
        ''
    ) as storage
from pg_catalog.pg_class c
left join pg_catalog.pg_am a on a.oid = c.relam
where c.relnamespace = %(schema)s::oid
    and c.relkind in ('r', 'p')
    and not exists (
        select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    )
