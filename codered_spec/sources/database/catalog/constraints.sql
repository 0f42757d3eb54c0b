-- Constraints, without the NOT NULL ones of Postgres 18 and without constraint triggers.
select
    c.conrelid as table_oid,
    c.conname::text as name,
    c.contype::text as kind,
    array(
        select a.attname::text
        from unnest(c.conkey) with ordinality k (attnum, n)
        join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
        order by k.n
    ) as columns,
    r.relname::text as referenced_table,
    r.relnamespace = c.connamespace as same_schema,
    array(
        select a.attname::text
        from unnest(c.confkey) with ordinality k (attnum, n)
        join pg_catalog.pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.attnum
        order by k.n
    ) as referenced,
    c.confdeltype::text as on_delete,
    c.confupdtype::text as on_update,
    array(
        select a.attname::text
        from unnest(c.confdelsetcols) with ordinality k (attnum, n)
        join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
        order by k.n
    ) as on_delete_columns,
    c.condeferrable as deferrable,
    c.condeferred as deferred,
    c.convalidated and coalesce(i.indisvalid or c.contype = 'f', true) as validated,
    c.contype = 'c' and c.connoinherit as no_inherit,
    c.confmatchtype = 'f' as match_full,
    -- columns that older servers do not have; a disabled system trigger enforces nothing either
    coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true)
    and not exists (
        select from pg_catalog.pg_trigger t
        where t.tgconstraint = c.oid and t.tgisinternal and t.tgenabled in ('D', 'R')
    ) as enforced,
    coalesce((to_jsonb(c) ->> 'conperiod')::boolean, false) as period,
    not coalesce(i.indnullsnotdistinct, false) as nulls_distinct,
    c.contype <> 'f' and coalesce(i.indnatts > i.indnkeyatts, false) as includes_columns,
    pg_catalog.pg_get_constraintdef(c.oid) as definition,
    pg_catalog.pg_get_expr(c.conbin, c.conrelid) as expression
from pg_catalog.pg_constraint c
left join pg_catalog.pg_class r on r.oid = c.confrelid
left join pg_catalog.pg_index i on i.indexrelid = c.conindid
where c.connamespace = %(schema)s::oid
    and c.conrelid <> 0
    and c.contype not in ('n', 't')
