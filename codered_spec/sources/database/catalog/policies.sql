-- Policies of row-level security.
select
    p.polrelid as table_oid,
    p.polname::text as name,
    case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
        when 'd' then 'delete' else 'all' end as command,
    p.polpermissive as permissive,
    array(
        select case when r.oid = 0 then 'public' else coalesce(a.rolname, r.oid::text) end
        from unnest(p.polroles) r (oid)
        left join pg_catalog.pg_roles a on a.oid = r.oid
        order by 1
    ) as roles,
    pg_catalog.pg_get_expr(p.polqual, p.polrelid) as using,
    pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) as with_check
from pg_catalog.pg_policy p
join pg_catalog.pg_class c on c.oid = p.polrelid
where c.relnamespace = %(schema)s::oid
