-- Content, once, whoever uses it. It is never deleted: records outlive versions.
create table registry.schemas (
    id integer generated always as identity primary key check (id > 0),
    guid uuid not null unique, -- MD5 of the content (Confluent's algorithm)
    schema text not null, -- as Java's Schema.toString() writes it
    refs jsonb not null default '[]' check (jsonb_typeof(refs) = 'array'), -- [{name, subject, version}], in the order of registration
    created_at timestamptz not null default now()
);

create index schemas_by_reference on registry.schemas using gin (refs jsonb_path_ops) where refs <> '[]';

-- What a subject's versions are. Written under the subject's advisory lock.
create table registry.versions (
    subject text not null,
    version integer not null check (version > 0),
    schema_id integer not null references registry.schemas (id),
    deleted boolean not null default false, -- softly: hidden, and never given out again
    registered_at timestamptz not null default now(),
    primary key (subject, version)
);

-- The same content twice under a subject is impossible, whatever the replicas do.
create unique index versions_by_content on registry.versions (subject, schema_id) where not deleted;
create index versions_by_schema on registry.versions (schema_id);

-- Compatibility levels; the subject '' is the default of all.
create table registry.config (
    subject text primary key,
    compatibility text not null check (compatibility in ('NONE', 'BACKWARD', 'BACKWARD_TRANSITIVE', 'FORWARD', 'FORWARD_TRANSITIVE', 'FULL', 'FULL_TRANSITIVE'))
);

-- Everything that happened, for those who watch. `revision` comes from the one row of `head`, which stays locked until the
-- commit: revisions become visible in their order, so that whoever has seen one has seen all before it. (A sequence would not do:
-- its numbers are given out in order and committed in any.)
create table registry.head (
    one boolean primary key default true check (one),
    revision bigint not null
);
insert into registry.head (revision) values (0);

create table registry.changes (
    revision bigint primary key,
    kind text not null check (kind in ('registered', 'deleted', 'configured')),
    subject text not null,
    version integer,
    schema_id integer references registry.schemas (id),
    compatibility text,
    changed_at timestamptz not null default now()
);
