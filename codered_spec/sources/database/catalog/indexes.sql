-- Indexes that no constraint owns. "keys" are objects in order, included columns not among them.
select
    i.indrelid as table_oid,
    c.relname::text as name,
    am.amname::text as method,
    i.indisunique as is_unique,
    not i.indnullsnotdistinct as nulls_distinct,
    i.indisvalid and i.indisready and i.indislive as valid,
    pg_catalog.pg_get_expr(i.indpred, i.indrelid) as predicate,
    coalesce(c.reloptions, '{}') as parameters,
    k.keys,
    array(
        select a.attname::text
        from generate_series(i.indnkeyatts + 1, i.indnatts) n
        join pg_catalog.pg_attribute a
            on a.attrelid = i.indrelid and a.attnum = i.indkey[n - 1]
        order by n
    ) as include
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_am am on am.oid = c.relam
cross join lateral (
    select jsonb_agg(
        jsonb_build_object(
            'column', a.attname,
            'definition',
            pg_catalog.pg_get_indexdef(i.indexrelid, n, false)
            || case when i.indcollation[n - 1] not in (0, coalesce(a.attcollation, 0))
                then ' collate ' || i.indcollation[n - 1]::regcollation::text else '' end
            || coalesce(' with ' || o.attoptions::text, ''),
            'plain',
            a.attname is not null
            and i.indcollation[n - 1] in (0, a.attcollation)
            and o.attoptions is null,
            'opclass',
            case when am.amname not in ('hnsw', 'ivfflat') and p.opcdefault and p.opcintype = coalesce(exact.opcintype, case
                when t.typcategory = 'A' then 'anyarray'::regtype
                when t.oid = 'varchar'::regtype then 'text'::regtype
                else p.opcintype end)
                then null
                when s.nspname = 'pg_catalog' or x.extname is not null then p.opcname::text
                else quote_ident(s.nspname) || '.' || quote_ident(p.opcname)
            end,
            'descending', i.indoption[n - 1] & 1 = 1,
            'nulls_first', i.indoption[n - 1] & 2 = 2
        )
        order by n
    ) as keys
    from generate_series(1, i.indnkeyatts) n
    join pg_catalog.pg_attribute o on o.attrelid = i.indexrelid and o.attnum = n
    join pg_catalog.pg_opclass p on p.oid = i.indclass[n - 1]
    join pg_catalog.pg_namespace s on s.oid = p.opcnamespace
    left join pg_catalog.pg_attribute a
        on a.attrelid = i.indrelid and a.attnum = i.indkey[n - 1] and i.indkey[n - 1] <> 0
    left join pg_catalog.pg_type t on t.oid = coalesce(a.atttypid, o.atttypid)
    left join pg_catalog.pg_opclass exact
        on exact.opcmethod = p.opcmethod and exact.opcintype = t.oid and exact.opcdefault
    left join pg_catalog.pg_depend m
        on m.classid = 'pg_catalog.pg_opclass'::regclass and m.objid = p.oid and m.deptype = 'e'
    left join pg_catalog.pg_extension x on x.oid = m.refobjid and x.extname = 'vector'
) k
where c.relnamespace = %(schema)s::oid
    and not exists (
        select from pg_catalog.pg_constraint o
        where o.conindid = i.indexrelid and o.contype in ('p', 'u', 'x')
    )
