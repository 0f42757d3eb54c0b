-- Everything else that lives in the schema, without what belongs to an extension or to another
-- object of the model (row types, array types, identity sequences).
select o.kind, o.name
from (
    select
        'pg_catalog.pg_class'::regclass::oid as class,
        c.oid as object,
        case c.relkind when 'm' then 'materialized view'
            when 'S' then 'sequence' when 'f' then 'foreign table' when 'c' then 'type'
            else 'relation of kind ' || c.relkind::text end as kind,
        c.relname::text as name
    from pg_catalog.pg_class c
    where c.relnamespace = %(schema)s::oid
        and c.relkind not in ('r', 'p', 'i', 'I', 't', 'v')
        and not exists (
            select from pg_catalog.pg_depend d
            where d.classid = 'pg_catalog.pg_class'::regclass
                and d.objid = c.oid and c.relkind = 'S' and d.deptype = 'i'
        )
    union all
    select
        'pg_catalog.pg_type'::regclass, t.oid,
        case t.typtype when 'd' then 'domain' when 'e' then 'enum' when 'r' then 'range type'
            else 'type' end,
        t.typname::text
    from pg_catalog.pg_type t
    where t.typnamespace = %(schema)s::oid
        and t.typrelid = 0
        and t.typtype <> 'm'
        and not exists (select from pg_catalog.pg_type e where e.typarray = t.oid)
    union all
    select
        'pg_catalog.pg_proc'::regclass, p.oid,
        case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate'
            else 'window function' end,
        p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')'
    from pg_catalog.pg_proc p
    where p.pronamespace = %(schema)s::oid and p.prokind <> 'f'
    union all
    select
        'pg_catalog.pg_rewrite'::regclass, r.oid, 'rule', c.relname || '.' || r.rulename
    from pg_catalog.pg_rewrite r
    join pg_catalog.pg_class c on c.oid = r.ev_class
    where c.relnamespace = %(schema)s::oid and c.relkind in ('r', 'p')
    union all
    select
        'pg_catalog.pg_statistic_ext'::regclass, e.oid, 'statistics', e.stxname::text
    from pg_catalog.pg_statistic_ext e
    where e.stxnamespace = %(schema)s::oid
    union all
    select 'pg_catalog.pg_collation'::regclass, l.oid, 'collation', l.collname::text
    from pg_catalog.pg_collation l
    where l.collnamespace = %(schema)s::oid
    union all
    select 'pg_catalog.pg_conversion'::regclass, v.oid, 'conversion', v.conname::text
    from pg_catalog.pg_conversion v
    where v.connamespace = %(schema)s::oid
    union all
    select
        'pg_catalog.pg_operator'::regclass, q.oid, 'operator',
        format('%%s(%%s,%%s)', q.oprname, nullif(q.oprleft, 0)::regtype, q.oprright::regtype)
    from pg_catalog.pg_operator q
    where q.oprnamespace = %(schema)s::oid
    union all
    select
        'pg_catalog.pg_opclass'::regclass, k.oid, 'operator class', k.opcname || ' ' || m.amname
    from pg_catalog.pg_opclass k
    join pg_catalog.pg_am m on m.oid = k.opcmethod
    where k.opcnamespace = %(schema)s::oid
    union all
    select
        'pg_catalog.pg_opfamily'::regclass, f.oid, 'operator family', f.opfname || ' ' || m.amname
    from pg_catalog.pg_opfamily f
    join pg_catalog.pg_am m on m.oid = f.opfmethod
    where f.opfnamespace = %(schema)s::oid
    union all
    select 'pg_catalog.pg_ts_config'::regclass, g.oid, 'text search configuration', g.cfgname::text
    from pg_catalog.pg_ts_config g
    where g.cfgnamespace = %(schema)s::oid
    union all
    select 'pg_catalog.pg_ts_dict'::regclass, y.oid, 'text search dictionary', y.dictname::text
    from pg_catalog.pg_ts_dict y
    where y.dictnamespace = %(schema)s::oid
    union all
    select 'pg_catalog.pg_ts_parser'::regclass, z.oid, 'text search parser', z.prsname::text
    from pg_catalog.pg_ts_parser z
    where z.prsnamespace = %(schema)s::oid
    union all
    select 'pg_catalog.pg_ts_template'::regclass, w.oid, 'text search template', w.tmplname::text
    from pg_catalog.pg_ts_template w
    where w.tmplnamespace = %(schema)s::oid
) o
where not exists (
    select from pg_catalog.pg_depend d
    where d.classid = o.class and d.objid = o.object and d.deptype = 'e'
)
