-- Where events come from. Whoever records events holds the row: numbers and times of a source's events are in the order
-- in which they become visible, and a reader that has seen a number has seen all that are lower.
CREATE TABLE event_source (
    id       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     text NOT NULL UNIQUE,
    last_seq bigint NOT NULL DEFAULT 0,
    last_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- Events, each once for its id.
CREATE TABLE event (
    source_id integer NOT NULL,
    -- From 1, without gaps.
    seq       bigint NOT NULL,
    event_id  text COLLATE "C" NOT NULL,
    type      text NOT NULL,
    subject   text NOT NULL,
    data      jsonb NOT NULL,
    bytes     integer NOT NULL,
    -- When it was recorded; never before that of a lower number.
    at        timestamptz NOT NULL,
    PRIMARY KEY (source_id, seq),
    UNIQUE (source_id, event_id)
);

CREATE INDEX event_at ON event (at, source_id, seq);

-- A DAG's trigger under one binding, and the number up to which it has looked at its source's events.
CREATE TABLE event_trigger (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    flow_id    integer NOT NULL REFERENCES flow,
    name       text NOT NULL,
    source_id  integer NOT NULL,
    -- How its events go together: open groups of another rule get no more.
    rule       jsonb NOT NULL,
    active     boolean NOT NULL DEFAULT true,
    cursor     bigint NOT NULL,
    -- When the next open group is due.
    next_at    timestamptz,
    -- A version that cannot read its document has left it until then.
    not_before timestamptz,
    looked_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (flow_id, name)
) WITH (fillfactor = 50);

CREATE INDEX event_trigger_source ON event_trigger (source_id, cursor) WHERE active;
CREATE INDEX event_trigger_next ON event_trigger (next_at) WHERE active AND next_at IS NOT NULL;

CREATE SEQUENCE event_group_id;

-- Events that make one run: 0 open, 1 sealed (it gets no more, and makes its run at the next look), 10 it has made a run,
-- 11 it could not, and `reason` says why, 12 its trigger went away before.
CREATE TABLE event_group (
    id         bigint PRIMARY KEY,
    trigger_id integer NOT NULL REFERENCES event_trigger,
    source_id  integer NOT NULL,
    key        text NOT NULL,
    state      smallint NOT NULL,
    events     integer NOT NULL,
    bytes      bigint NOT NULL,
    first_at   timestamptz NOT NULL,
    last_at    timestamptz NOT NULL,
    -- None: it waits for more events and for nothing else.
    due_at     timestamptz,
    ended_at   timestamptz,
    run_id     bigint,
    reason     text
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX event_group_open ON event_group (trigger_id, key) WHERE state = 0;
CREATE INDEX event_group_due ON event_group (trigger_id, due_at) WHERE state < 10;
CREATE INDEX event_group_run ON event_group (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX event_group_ended ON event_group (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE event_member (
    group_id  bigint NOT NULL REFERENCES event_group ON DELETE CASCADE,
    source_id integer NOT NULL,
    seq       bigint NOT NULL,
    PRIMARY KEY (group_id, seq)
);

CREATE INDEX event_member_event ON event_member (source_id, seq);
