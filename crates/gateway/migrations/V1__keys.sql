-- API keys. The secret itself is nowhere: it is 256 random bits, and this is its SHA-256.
create table gateway.keys (
    id bigint primary key, -- the public part of the key, 64 random bits
    name text not null,
    secret_hash bytea not null check (octet_length(secret_hash) = 32),
    pipelines text[] not null check (cardinality(pipelines) > 0), -- '*' is all of them
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);

create index keys_by_age on gateway.keys (created_at desc, id);

-- Gateways drop what they have cached about a key when it changes, also when a person changes it by hand.
create function gateway.announce_key() returns trigger language plpgsql as $$
begin
    perform pg_notify('gateway_keys', coalesce(new.id, old.id)::text);
    return null;
end $$;

create trigger announce_key after insert or update or delete on gateway.keys
    for each row execute function gateway.announce_key();
