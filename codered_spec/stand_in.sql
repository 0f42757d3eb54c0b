-- A local stand-in of a hosted Supabase project: the part of it that a migration can notice.
-- Run by the bootstrap superuser in one transaction, once in every database; may be repeated.

-- 1. Roles. They belong to the whole server. Only the missing ones are made.
do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('postgres',                'login'),
      ('authenticator',           'login noinherit'),
      ('anon',                    'nologin noinherit'),
      ('authenticated',           'nologin noinherit'),
      ('service_role',            'nologin noinherit bypassrls'),
      ('supabase_auth_admin',     'nologin noinherit createrole'),
      ('supabase_storage_admin',  'nologin noinherit'),
      ('supabase_read_only_user', 'login bypassrls'),
      ('dashboard_user',          'nologin createdb createrole replication')
    ) as role (name, attributes)
    where to_regrole(name) is null
  loop
    execute format('create role %I %s', wanted.name, wanted.attributes);
  end loop;
end
$$;

-- The role of migrations has many rights, but it is no superuser.
alter role postgres nosuperuser login createdb createrole replication bypassrls;
grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role, authenticator to postgres with admin option;

alter role postgres set search_path = "$user", public, extensions;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';

-- 2. The database: extensions are created in a schema of their own, by the role postgres.
do $$
begin
  execute format('grant all on database %I to postgres', current_database());
  execute format(
    'alter database %I set search_path = "$user", public, extensions', current_database());
end
$$;

create schema if not exists extensions;
grant all on schema extensions to postgres;
grant usage on schema extensions to anon, authenticated, service_role;

-- No default privileges for the API roles: neither in public (new projects) nor in a custom schema.
grant usage, create on schema public to postgres;
grant usage on schema public to anon, authenticated, service_role;

-- 3. Users and the claims of the request's token, as policies read them.
create schema if not exists auth authorization supabase_auth_admin;
grant usage on schema auth to postgres, anon, authenticated, service_role;

create table if not exists auth.users (
  id uuid primary key,
  email text,
  role text,
  raw_app_meta_data jsonb,
  raw_user_meta_data jsonb,
  created_at timestamptz default now()
);
alter table auth.users owner to supabase_auth_admin;
grant select, references, trigger on auth.users to postgres;

create or replace function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')
  )::jsonb
$$;

create or replace function auth.uid() returns uuid language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
  )::uuid
$$;

create or replace function auth.role() returns text language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
  )
$$;

create or replace function auth.email() returns text language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.email', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'
  )
$$;

grant execute on all functions in schema auth to postgres, anon, authenticated, service_role;

-- 4. The publication that tables join to be sent to browsers.
do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
end
$$;
alter publication supabase_realtime owner to postgres;
