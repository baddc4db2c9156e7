-- The program replaces the tilde before a table's name by the schema.

-- Notices: what clients must still be told. Each is written by the transaction that ends its session, and may outlive the
-- rows of the session and the account. The ID is the jti of the tokens that tell it. Times are microseconds since 1970.
CREATE TABLE ~outbox (
    id         TEXT PRIMARY KEY,
    client     TEXT NOT NULL,
    -- The uid of the client's resource then: a recreated client is not told.
    client_uid TEXT NOT NULL,
    -- The namespace of the client: how many of its notices wait is bounded.
    namespace  TEXT NOT NULL,
    account    BYTEA NOT NULL,
    session    TEXT NOT NULL,
    tries      BIGINT NOT NULL,
    -- When it may be tried. A replica that tries it moves this forward first, so that no other one does so meanwhile.
    next_at    BIGINT NOT NULL,
    -- When it is given up.
    expires_at BIGINT NOT NULL
);
CREATE INDEX outbox_client ON ~outbox (client, next_at);
CREATE INDEX outbox_namespace ON ~outbox (namespace);
CREATE INDEX outbox_expiry ON ~outbox (expires_at);
