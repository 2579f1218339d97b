-- Deadlines of what is not over, each with what was told of it.
CREATE TABLE deadline (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    flow_id integer NOT NULL,
    -- None: the moment of a schedule that has no run.
    run_id  bigint,
    -- Of a scheduled run, its moment.
    slot_at timestamptz,
    -- The plan whose deadline it is, and its place there.
    hash    bytea NOT NULL,
    place   smallint NOT NULL,
    -- By when; none until what it is counted from has begun.
    due_at  timestamptz,
    -- When it is looked at next; none: when there is news of its run.
    look_at timestamptz,
    told    smallint NOT NULL DEFAULT 0,
    -- Since when that is so.
    since   timestamptz,
    UNIQUE NULLS NOT DISTINCT (flow_id, run_id, slot_at, place)
) WITH (fillfactor = 70);

CREATE INDEX deadline_look ON deadline (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX deadline_run ON deadline (run_id) WHERE run_id IS NOT NULL;

-- Signals on their way to Kafka, as JSON, in the order in which they were given.
CREATE TABLE signal (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    body jsonb NOT NULL
);
