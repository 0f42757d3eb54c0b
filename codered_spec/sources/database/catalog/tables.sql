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
    ) as storage,
    (
        select coalesce(jsonb_agg(jsonb_build_array(
            case when a.grantee = 0 then 'public' else coalesce(r.rolname, a.grantee::text) end,
            lower(a.privilege_type) || case when a.is_grantable then ' with grant option' else '' end,
            x.attname)), '[]')
        from (
            select c.relacl as acl, null::text as attname
            union all
            select t.attacl, t.attname::text
            from pg_catalog.pg_attribute t
            where t.attrelid = c.oid and t.attacl is not null and not t.attisdropped
        ) x
        cross join lateral aclexplode(x.acl) a
        left join pg_catalog.pg_roles r on r.oid = a.grantee
        where a.grantee <> c.relowner
    ) as grants
from pg_catalog.pg_class c
left join pg_catalog.pg_am a on a.oid = c.relam
where c.relnamespace = %(schema)s::oid
    and c.relkind in ('r', 'p')
    and not exists (
        select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    )
