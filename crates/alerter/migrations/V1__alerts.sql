-- What is told to whom, durably. Only `millrace-alerter migrate` runs this.

-- How far the notify loop is in each partition (millrace_postgres::ledger).
CREATE TABLE offsets (
    consumer    text        NOT NULL,
    topic_id    uuid        NOT NULL,
    partition   integer     NOT NULL,
    next        bigint      NOT NULL,
    advanced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, topic_id, partition)
) WITH (fillfactor = 50);

-- One row for each time that a group fires, until it is resolved: of a pipeline's alert and its group labels, or of a
-- signal and its dedup key.
CREATE TABLE alerts (
    id           uuid        PRIMARY KEY,
    kind         text        NOT NULL CHECK (kind IN ('verdict', 'signal')),
    pipeline     text,
    name         text        NOT NULL,
    -- SHA-256 of what makes the group one; at most one row of a group fires.
    group_key    text        NOT NULL,
    labels       jsonb       NOT NULL,
    -- What else there is to say: of a signal its severity, summary, link, source and subject; of a verdict its action.
    details      jsonb       NOT NULL,
    state        text        NOT NULL CHECK (state IN ('firing', 'resolved')),
    receivers    text[]      NOT NULL,
    repeat_ms    bigint      NOT NULL,
    -- Verdicts or signals in it, and how many of them the last notification counted.
    occurrences  bigint      NOT NULL DEFAULT 0,
    told         bigint      NOT NULL DEFAULT 0,
    started_at   timestamptz NOT NULL DEFAULT now(),
    last_at      timestamptz NOT NULL DEFAULT now(),
    told_at      timestamptz,
    resolved_at  timestamptz,
    -- When there may be something to tell; null: never again.
    next_at      timestamptz
);
CREATE UNIQUE INDEX alerts_firing ON alerts (group_key) WHERE state = 'firing';
CREATE INDEX alerts_due ON alerts (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX alerts_resolved ON alerts (resolved_at) WHERE state = 'resolved';

-- The verdicts that raised an alert, each counted once, however often it is read.
CREATE TABLE alert_events (
    verdict_id     uuid             NOT NULL,
    alert          text             NOT NULL,
    alert_id       uuid             NOT NULL REFERENCES alerts ON DELETE CASCADE,
    event_id       text             NOT NULL,
    correlation_id text             NOT NULL,
    rule           text             NOT NULL,
    score          double precision NOT NULL,
    model_version  text             NOT NULL,
    received_at    timestamptz      NOT NULL,
    judged_at      timestamptz      NOT NULL,
    noted_at       timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (verdict_id, alert)
);
CREATE INDEX alert_events_of ON alert_events (alert_id, judged_at DESC);
CREATE INDEX alert_events_event ON alert_events (event_id);
CREATE INDEX alert_events_age ON alert_events (noted_at);

-- The log: what is told, why, to whom, and how that went.
CREATE TABLE notifications (
    -- The webhook-id: the same in every attempt.
    id          text        PRIMARY KEY,
    alert_id    uuid        NOT NULL REFERENCES alerts ON DELETE CASCADE,
    receiver    text        NOT NULL,
    reason      text        NOT NULL CHECK (reason IN ('firing', 'repeat', 'resolved')),
    -- The body, byte for byte.
    payload     text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'disabled')),
    attempts    integer     NOT NULL DEFAULT 0,
    -- When to try (again); while an attempt is under way, when it counts as lost.
    next_at     timestamptz NOT NULL DEFAULT now(),
    last_status integer,
    last_error  text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX notifications_pending ON notifications (receiver, next_at) WHERE state = 'pending';
CREATE INDEX notifications_alert ON notifications (alert_id);

-- Each attempt of each notification.
CREATE TABLE notification_attempts (
    notification_id text        NOT NULL REFERENCES notifications ON DELETE CASCADE,
    attempt         integer     NOT NULL,
    began_at        timestamptz NOT NULL,
    duration_ms     integer     NOT NULL,
    status          integer,
    error           text,
    PRIMARY KEY (notification_id, attempt)
);

-- Receivers by name. One that answered 410 Gone is told nothing until its address changes.
CREATE TABLE receivers (
    name        text        PRIMARY KEY,
    -- SHA-256 of the address, which may hold a secret.
    address     text        NOT NULL,
    disabled_at timestamptz,
    updated_at  timestamptz NOT NULL DEFAULT now()
);
