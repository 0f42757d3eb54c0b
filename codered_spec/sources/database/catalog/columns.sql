-- Columns in their order. A type of pgvector comes without its schema.
select
    a.attrelid as table_oid,
    a.attname::text as name,
    case when x.extname is null then pg_catalog.format_type(a.atttypid, a.atttypmod)
        else substr(
            pg_catalog.format_type(a.atttypid, a.atttypmod),
            length(quote_ident(s.nspname)) + 2
        )
    end as type,
    -- a NOT NULL that was never validated says nothing about the rows that are there
    not a.attnotnull or exists (
        select from pg_catalog.pg_constraint n
        where n.conrelid = a.attrelid and n.contype = 'n'
            and not n.convalidated and n.conkey = array[a.attnum]
    ) as nullable,
    pg_catalog.pg_get_expr(d.adbin, d.adrelid) as expression,
    case a.attidentity when 'a' then 'always' when 'd' then 'by default' end as identity,
    case a.attgenerated when 's' then 'stored' when 'v' then 'virtual' end as generated,
    case when a.attcollation <> t.typcollation then a.attcollation::regcollation::text
    end as collation,
    pg_catalog.col_description(a.attrelid, a.attnum) as comment
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_type e
    on e.oid = case when t.typcategory = 'A' and t.typelem <> 0 then t.typelem else t.oid end
join pg_catalog.pg_namespace s on s.oid = e.typnamespace
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
left join pg_catalog.pg_depend m
    on m.classid = 'pg_catalog.pg_type'::regclass and m.objid = e.oid and m.deptype = 'e'
left join pg_catalog.pg_extension x on x.oid = m.refobjid and x.extname = 'vector'
where c.relnamespace = %(schema)s::oid
    and c.relkind in ('r', 'p')
    and a.attnum > 0
    and not a.attisdropped
order by a.attrelid, a.attnum
