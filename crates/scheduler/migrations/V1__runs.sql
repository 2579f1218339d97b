-- Every version of every document that was ever applied. A run is pinned to these.
CREATE TABLE document (
    hash       bytea PRIMARY KEY,
    kind       text NOT NULL,
    name       text NOT NULL,
    -- The canonical text, whose SHA-256 the hash is.
    body       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE dag (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    hash       bytea NOT NULL REFERENCES document,
    paused     boolean NOT NULL DEFAULT false,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Processes that run tasks. One that has not renewed its lease is looked after by the others.
CREATE TABLE instance (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- A run is there once for each key, whatever many replicas think.
CREATE TABLE run (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dag_id         integer NOT NULL REFERENCES dag,
    binding        text,
    key            text NOT NULL,
    hash           bytea NOT NULL REFERENCES document,
    kind           smallint NOT NULL,
    class          smallint NOT NULL,
    priority       smallint NOT NULL,
    state          smallint NOT NULL,
    logical_at     timestamptz,
    interval_start timestamptz,
    interval_end   timestamptz,
    params         jsonb NOT NULL,
    tasks_left     integer NOT NULL,
    queued_at      timestamptz NOT NULL DEFAULT now(),
    started_at     timestamptz,
    ended_at       timestamptz,
    UNIQUE NULLS NOT DISTINCT (dag_id, binding, key)
) WITH (fillfactor = 80);

CREATE INDEX run_alive ON run (dag_id, id) WHERE ended_at IS NULL;

-- Fencing tokens: each attempt has one, and a later attempt of a task has a greater one, whoever claims it. So no
-- session may keep numbers in store.
CREATE SEQUENCE token CACHE 1;

-- The tasks of runs that have not ended, and nothing else. `item` is -1 for a task, or for the group of a mapped one;
-- the instances of a mapped task count from 0.
CREATE TABLE task (
    run_id        bigint NOT NULL,
    no            smallint NOT NULL,
    item          integer NOT NULL,
    state         smallint NOT NULL,
    class         smallint NOT NULL,
    priority      smallint NOT NULL,
    attempt       integer NOT NULL DEFAULT 0,
    retries       integer NOT NULL DEFAULT 0,
    due_at        timestamptz,
    -- What became of the tasks that it waits for.
    needs         integer NOT NULL,
    succeeded     integer NOT NULL DEFAULT 0,
    failed        integer NOT NULL DEFAULT 0,
    skipped       integer NOT NULL DEFAULT 0,
    -- Of a group: what became of its instances.
    items         integer NOT NULL DEFAULT 0,
    items_left    integer NOT NULL DEFAULT 0,
    items_failed  integer NOT NULL DEFAULT 0,
    items_skipped integer NOT NULL DEFAULT 0,
    value         jsonb,
    output        jsonb,
    error         text,
    ended_at      timestamptz,
    PRIMARY KEY (run_id, no, item)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.05);

-- What can be launched, in the order in which it is.
CREATE INDEX task_ready ON task (class, priority DESC, due_at) WHERE state = 1;

-- Attempts that are alive: the intent to launch is written in the transaction that takes the task from ready, and
-- whoever looks after it finds or makes the attempt by the name that these columns give it.
CREATE TABLE launch (
    token       bigint PRIMARY KEY,
    run_id      bigint NOT NULL,
    no          smallint NOT NULL,
    item        integer NOT NULL,
    attempt     integer NOT NULL,
    instance    bigint NOT NULL,
    launched_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (run_id, no, item)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.05);

CREATE INDEX launch_instance ON launch (instance);

-- Attempts that have ended, by month.
CREATE TABLE attempt (
    run_id      bigint NOT NULL,
    no          smallint NOT NULL,
    item        integer NOT NULL,
    attempt     integer NOT NULL,
    token       bigint NOT NULL,
    instance    bigint NOT NULL,
    launched_at timestamptz NOT NULL,
    ended_at    timestamptz NOT NULL,
    outcome     smallint NOT NULL,
    error       text
) PARTITION BY RANGE (ended_at);

CREATE TABLE attempt_other PARTITION OF attempt DEFAULT;
CREATE INDEX attempt_run ON attempt (run_id, no, item, attempt);

-- Tasks of runs that have ended, by month.
CREATE TABLE task_done (
    run_id   bigint NOT NULL,
    no       smallint NOT NULL,
    item     integer NOT NULL,
    state    smallint NOT NULL,
    attempt  integer NOT NULL,
    value    jsonb,
    output   jsonb,
    error    text,
    ended_at timestamptz NOT NULL
) PARTITION BY RANGE (ended_at);

CREATE TABLE task_done_other PARTITION OF task_done DEFAULT;
CREATE INDEX task_done_run ON task_done (run_id, no, item);
