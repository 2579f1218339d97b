-- Every text that a run was ever pinned to: DAGs with their templates put in, and bindings.
CREATE TABLE document (
    hash       bytea PRIMARY KEY,
    kind       text NOT NULL,
    name       text NOT NULL,
    -- The canonical text, whose SHA-256 the hash is.
    body       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- What is in force, as its author wrote it (as JSON).
CREATE TABLE applied (
    kind       text NOT NULL,
    name       text NOT NULL,
    body       jsonb NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, name)
);

CREATE INDEX applied_binding ON applied ((body #>> '{spec,dag}')) WHERE kind = 'Binding';

-- What has runs: a DAG with one binding, or without any.
CREATE TABLE flow (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dag           text NOT NULL,
    -- Empty: none.
    binding       text NOT NULL DEFAULT '',
    hash          bytea NOT NULL REFERENCES document,
    binding_hash  bytea REFERENCES document,
    -- A DAG that has bindings does not run without one.
    active        boolean NOT NULL DEFAULT true,
    paused        boolean NOT NULL DEFAULT false,
    -- Runs at once.
    runs_limit    integer NOT NULL DEFAULT 16,
    -- Every moment up to here is accounted for.
    cursor_at     timestamptz,
    -- Moments from `coalescing_since` on were coalesced into one that the cursor has not come to.
    coalescing_since timestamptz,
    coalescing_into  timestamptz,
    -- More moments are to be accounted for at once: until then nothing is caught up.
    filling       boolean NOT NULL DEFAULT false,
    -- Moments before it were missed, however short ago.
    resumed_at    timestamptz,
    -- When to look at it next; none without a schedule.
    next_at       timestamptz,
    -- When it is due next, for people.
    due_at        timestamptz,
    UNIQUE (dag, binding)
) WITH (fillfactor = 50);

CREATE INDEX flow_next ON flow (next_at) WHERE next_at IS NOT NULL AND active AND NOT paused;

-- What becomes of each moment of a schedule. Moments that were passed over by one rule may be one row: from `at` to
-- `until`, both with it, `count` of them.
CREATE TABLE slot (
    flow_id integer NOT NULL,
    at      timestamptz NOT NULL,
    until   timestamptz NOT NULL,
    count   bigint NOT NULL,
    state   smallint NOT NULL,
    reason  text,
    run_id  bigint,
    PRIMARY KEY (flow_id, at, state)
);

CREATE INDEX slot_run ON slot (run_id) WHERE run_id IS NOT NULL;

-- Processes that look after attempts. Those of one that has not renewed its lease are taken over by the others.
CREATE TABLE instance (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    -- Where it keeps what it begins: two of one place find each other's.
    place       text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz NOT NULL,
    -- It has ended, or others have taken over what it looked after.
    ended_at    timestamptz
) WITH (fillfactor = 50);

-- Limits on what runs at once, with what is in use of them.
CREATE TABLE pool (
    id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name  text NOT NULL UNIQUE,
    slots integer NOT NULL,
    used  integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE backfill (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    flow_id      integer NOT NULL REFERENCES flow,
    max_parallel integer NOT NULL,
    done         boolean NOT NULL DEFAULT false,
    made_at      timestamptz NOT NULL DEFAULT now()
);

-- A run is there once for each key, whatever many replicas think.
CREATE TABLE run (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    flow_id        integer NOT NULL REFERENCES flow,
    key            text NOT NULL,
    hash           bytea NOT NULL REFERENCES document,
    binding_hash   bytea REFERENCES document,
    kind           smallint NOT NULL,
    class          smallint NOT NULL,
    state          smallint NOT NULL,
    -- It was told to end.
    cancelled      boolean NOT NULL DEFAULT false,
    -- How often it was cleared: it may have another plan since.
    epoch          integer NOT NULL DEFAULT 0,
    backfill_id    bigint,
    -- Of a scheduled one: its slot, whether that was missed, which goes first (the lowest), and what it waits for:
    -- 0 nothing, -1 that no scheduled run of the flow is running, n that of those caught up fewer than n are.
    slot_at        timestamptz,
    caught_up      boolean NOT NULL DEFAULT false,
    rank           bigint NOT NULL DEFAULT 0,
    gate           integer NOT NULL DEFAULT 0,
    logical_at     timestamptz,
    interval_start timestamptz,
    interval_end   timestamptz,
    params         jsonb NOT NULL,
    tasks_left     integer NOT NULL,
    queued_at      timestamptz NOT NULL DEFAULT now(),
    started_at     timestamptz,
    ended_at       timestamptz,
    -- When what is left of it is cancelled.
    timeout_at     timestamptz,
    UNIQUE (flow_id, key)
) WITH (fillfactor = 80);

CREATE INDEX run_running ON run (flow_id) WHERE state = 1;
CREATE INDEX run_queued ON run (flow_id, class, kind, caught_up, rank, id) WHERE state = 0;
CREATE INDEX run_timeout ON run (timeout_at) WHERE state = 1 AND timeout_at IS NOT NULL;
CREATE INDEX run_latest ON run (flow_id, id);
CREATE INDEX run_moment ON run (flow_id, logical_at);
CREATE INDEX run_interval ON run (flow_id, interval_end);
CREATE INDEX run_backfill ON run (backfill_id) WHERE backfill_id IS NOT NULL AND state < 10;

-- Fencing tokens: each attempt has one, and a later attempt of a task has a greater one, whoever claims it. So no
-- session may keep numbers in store.
CREATE SEQUENCE token CACHE 1;

-- The tasks of runs that have begun and not ended, and nothing else. `item` is -1 for a task, or for the group of a
-- mapped one; the instances of a mapped task count from 0.
CREATE TABLE task (
    run_id        bigint NOT NULL,
    no            smallint NOT NULL,
    item          integer NOT NULL,
    state         smallint NOT NULL,
    class         smallint NOT NULL,
    priority      smallint NOT NULL,
    attempt       integer NOT NULL DEFAULT 0,
    retries       integer NOT NULL DEFAULT 0,
    -- That of its run.
    epoch         integer NOT NULL DEFAULT 0,
    due_at        timestamptz,
    -- How long it may be ready before it fails: seconds.
    patience      double precision,
    -- What it holds while it is active.
    pool          integer,
    slots         integer NOT NULL DEFAULT 0,
    -- What became of the tasks that it waits for.
    needs         integer NOT NULL,
    succeeded     integer NOT NULL DEFAULT 0,
    failed        integer NOT NULL DEFAULT 0,
    skipped       integer NOT NULL DEFAULT 0,
    -- Of a group: what became of its instances.
    items         integer NOT NULL DEFAULT 0,
    -- Those before it were made ready.
    items_next    integer NOT NULL DEFAULT 0,
    items_left    integer NOT NULL DEFAULT 0,
    items_failed  integer NOT NULL DEFAULT 0,
    items_skipped integer NOT NULL DEFAULT 0,
    value         jsonb,
    output        jsonb,
    error         text,
    ended_at      timestamptz,
    PRIMARY KEY (run_id, no, item)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.05);

-- What can be launched, in the order in which it is: what needs no pool, and what does, so that a full pool is passed
-- over whole.
CREATE INDEX task_ready ON task (class, priority DESC, due_at) WHERE state = 1 AND pool IS NULL;
CREATE INDEX task_pooled ON task (pool, class, priority DESC, due_at) WHERE state = 1 AND pool IS NOT NULL;
CREATE INDEX task_patience ON task (due_at) WHERE state = 1 AND patience IS NOT NULL;

-- Attempts that are alive: the intent to launch is written in the transaction that takes the task from ready, and
-- whoever looks after it finds or makes the attempt by the name that these columns give it.
CREATE TABLE launch (
    token       bigint PRIMARY KEY,
    run_id      bigint NOT NULL,
    no          smallint NOT NULL,
    item        integer NOT NULL,
    attempt     integer NOT NULL,
    instance    bigint NOT NULL,
    -- Of the instance that launched it.
    place       text NOT NULL,
    -- It was told to end.
    cancelled   boolean NOT NULL DEFAULT false,
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
    error       text,
    -- The end of its log.
    log         text
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
    items    integer NOT NULL,
    items_failed integer NOT NULL,
    items_skipped integer NOT NULL,
    value    jsonb,
    output   jsonb,
    error    text,
    ended_at timestamptz NOT NULL
) PARTITION BY RANGE (ended_at);

CREATE TABLE task_done_other PARTITION OF task_done DEFAULT;
CREATE INDEX task_done_run ON task_done (run_id, no, item);
