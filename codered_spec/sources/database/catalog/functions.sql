-- Functions of the schema, without those of an extension or of a range type.
select
    p.proname::text as name,
    pg_catalog.pg_get_function_arguments(p.oid) as arguments,
    pg_catalog.pg_get_function_result(p.oid) as returns,
    l.lanname::text as language,
    concat_ws(
        ' ',
        case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
        case when p.proisstrict then 'strict' end,
        case when p.proleakproof then 'leakproof' end,
        case p.proparallel when 's' then 'parallel safe' when 'r' then 'parallel restricted' end
    ) as volatility,
    p.prosecdef as security_definer,
    coalesce(p.proconfig, '{}') as settings,
    coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc) as source,
    exists (
        select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        where a.grantee = 0 and a.privilege_type = 'EXECUTE'
    ) as public_execute,
    array(
        select coalesce(r.rolname, a.grantee::text)
            || case when a.is_grantable then ' with grant option' else '' end
        from aclexplode(p.proacl) a
        left join pg_catalog.pg_roles r on r.oid = a.grantee
        where a.grantee <> 0 and a.grantee <> p.proowner
        order by 1
    ) as execute,
    pg_catalog.obj_description(p.oid, 'pg_proc') as comment
from pg_catalog.pg_proc p
join pg_catalog.pg_language l on l.oid = p.prolang
where p.pronamespace = %(schema)s::oid
    and p.prokind = 'f'
    and not exists (
        select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid
            and d.deptype in ('e', 'i')
    )
