-- The schema itself, and the extensions of its database as pairs of name and schema.
select
    n.oid,
    pg_catalog.obj_description(n.oid, 'pg_namespace') as comment,
    array(
        select case when a.grantee = 0 then 'public' else coalesce(r.rolname, a.grantee::text) end
            || case when a.privilege_type = 'USAGE' then '' else ' (create)' end
            || case when a.is_grantable then ' with grant option' else '' end
        from aclexplode(n.nspacl) a
        left join pg_catalog.pg_roles r on r.oid = a.grantee
        where a.grantee <> n.nspowner
        order by 1
    ) as usage,
    (
        select coalesce(jsonb_agg(jsonb_build_array(e.extname, s.nspname)), '[]')
        from pg_catalog.pg_extension e
        join pg_catalog.pg_namespace s on s.oid = e.extnamespace
        where e.extname <> 'plpgsql'
    ) as extensions
from pg_catalog.pg_namespace n
where n.nspname = %(schema)s::text
