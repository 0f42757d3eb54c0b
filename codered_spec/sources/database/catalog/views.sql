-- Views. "intact" says whether the definition still is the one whose digest the comment keeps.
select
    c.relname::text as name,
    trim(trailing ';' from pg_catalog.pg_get_viewdef(c.oid)) as query,
    pg_catalog.obj_description(c.oid, 'pg_class') as comment,
    coalesce('security_invoker=true' = any (c.reloptions), false) as security_invoker,
    md5(pg_catalog.pg_get_viewdef(c.oid)) as definition
from pg_catalog.pg_class c
where c.relnamespace = %(schema)s::oid
    and c.relkind = 'v'
    and not exists (
        select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    )
