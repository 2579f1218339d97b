-- Bundles: what they are; their files are in S3, by the hash of their contents.
create table registry.models (
    name text not null,
    version text not null check (version ~ '^[0-9a-f]{16}$'),
    manifest text not null, -- as it was pushed, to the byte
    bytes bigint not null,
    pushed_by text not null,
    pushed_at timestamptz not null default now(),
    primary key (name, version)
);

-- What a version is to a pipeline now.
create table registry.model_stages (
    pipeline text not null,
    name text not null,
    version text not null,
    stage text not null check (stage in ('candidate', 'shadow', 'champion', 'retired')),
    revision bigint not null,
    primary key (pipeline, name, version),
    foreign key (name, version) references registry.models (name, version)
);

-- Two champions of a pipeline are impossible, whatever the replicas do.
create unique index model_stages_champion on registry.model_stages (pipeline) where stage = 'champion';

-- Everything that was done to a pipeline's models: the audit trail. Revisions of a pipeline have no holes: the row before is what
-- the next one is counted from, under the pipeline's lock.
create table registry.promotions (
    pipeline text not null,
    revision bigint not null check (revision > 0),
    name text not null,
    version text not null,
    from_stage text check (from_stage in ('candidate', 'shadow', 'champion', 'retired')),
    to_stage text not null check (to_stage in ('candidate', 'shadow', 'champion', 'retired')),
    -- Who was champion before, where another one is by this.
    before_name text,
    before_version text,
    conditions text[] not null,
    is_rollback boolean not null,
    done_by text not null,
    reason text not null,
    done_at timestamptz not null default now(),
    primary key (pipeline, revision),
    foreign key (name, version) references registry.models (name, version)
);
