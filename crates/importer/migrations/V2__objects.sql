-- The objects of S3 that tables are filled from: which generation of each one is in. Locked by whoever imports it.
CREATE TABLE importer.objects (
    -- What its rows say in `imported_from`.
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bucket      text        NOT NULL,
    key         text        NOT NULL,
    -- 0: nothing is in yet. Each import of other content, or of the same once more after another, is one more.
    generation  bigint      NOT NULL DEFAULT 0,
    -- The generation that is in, as S3 names it: by its version, or where there are none, by its etag.
    version     text,
    etag        text,
    bytes       bigint,
    -- Of its records: those that are rows by it, those that gave way to a later score, those that could not be stored.
    rows        bigint,
    lost        bigint,
    dead        bigint,
    imported_at timestamptz,
    UNIQUE (bucket, key)
);
