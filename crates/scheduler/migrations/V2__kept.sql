-- Messages that attempts were given, from before they leave their queue until the attempt has ended: whoever takes over
-- gives the attempt the same one again.
CREATE TABLE kept (
    token   bigint PRIMARY KEY,
    output  jsonb NOT NULL,
    -- What removes the message from its queue.
    receipt text NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now()
);
