-- The schema itself, and the extensions of its database as pairs of name and schema.
select
    n.oid,
    pg_catalog.obj_description(n.oid, 'pg_namespace') as comment,
    (
        select coalesce(jsonb_agg(jsonb_build_array(e.extname, s.nspname)), '[]')
        from pg_catalog.pg_extension e
        join pg_catalog.pg_namespace s on s.oid = e.extnamespace
        where e.extname <> 'plpgsql'
    ) as extensions
from pg_catalog.pg_namespace n
where n.nspname = %(schema)s::text
