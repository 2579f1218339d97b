-- How far each consumer group has stored each partition; moved in the transaction that stores the rows.
CREATE TABLE importer.offsets (
    consumer    text        NOT NULL,
    topic_id    uuid        NOT NULL,
    partition   integer     NOT NULL,
    next        bigint      NOT NULL,
    advanced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, topic_id, partition)
) WITH (fillfactor = 50);

-- The tables that people query: the documents name them, the importer makes and widens them.
CREATE SCHEMA IF NOT EXISTS pipeline;
