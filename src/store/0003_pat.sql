-- Personal access tokens. Times are microseconds since 1970; hashes are SHA-256. No index covers a column that a use
-- changes, and each page has room for the next version of its rows.
CREATE TABLE ~pat (
    id               TEXT PRIMARY KEY,
    hash             BYTEA NOT NULL,
    account          BYTEA NOT NULL REFERENCES ~account (id),
    -- The account's epoch in which it was created: the next revocation of the account ends it.
    epoch            BIGINT NOT NULL,
    client           TEXT NOT NULL,
    -- The uid of the client's resource: a recreated client has none of the tokens.
    client_uid       TEXT NOT NULL,
    name             TEXT NOT NULL,
    -- Lists, separated by spaces.
    scopes           TEXT NOT NULL,
    audiences        TEXT NOT NULL,
    claims           TEXT NOT NULL,
    -- The sign-in of the session in which the person created it.
    authenticated_at BIGINT NOT NULL,
    methods          TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    -- NULL: it never expires.
    expires_at       BIGINT,
    ended_at         BIGINT,
    used_at          BIGINT,
    used_network     TEXT,
    used_agent       TEXT,
    -- NULL: not before it is revoked.
    delete_after     BIGINT
) WITH (fillfactor = 70);
CREATE INDEX pat_account ON ~pat (account);
CREATE INDEX pat_expiry ON ~pat (delete_after);
