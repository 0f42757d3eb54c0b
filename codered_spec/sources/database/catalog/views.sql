-- Views. "intact" says whether the definition still is the one whose digest the comment keeps.
select
    c.relname::text as name,
    trim(trailing ';' from pg_catalog.pg_get_viewdef(c.oid)) as query,
    pg_catalog.obj_description(c.oid, 'pg_class') as comment,
    coalesce('security_invoker=true' = any (c.reloptions), false) as security_invoker,
    md5(pg_catalog.pg_get_viewdef(c.oid)) as definition,
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
where c.relnamespace = %(schema)s::oid
    and c.relkind = 'v'
    and not exists (
        select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    )
