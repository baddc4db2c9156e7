-- Personal access tokens. Times are microseconds since 1970; hashes are SHA-256. No index covers a column that a use changes.
CREATE TABLE pat (
    id               TEXT PRIMARY KEY,
    hash             BLOB NOT NULL,
    account          BLOB NOT NULL REFERENCES account (id),
    -- The account's epoch in which it was created: the next revocation of the account ends it.
    epoch            INTEGER NOT NULL,
    client           TEXT NOT NULL,
    -- The uid of the client's resource: a recreated client has none of the tokens.
    client_uid       TEXT NOT NULL,
    name             TEXT NOT NULL,
    -- Lists, separated by spaces.
    scopes           TEXT NOT NULL,
    audiences        TEXT NOT NULL,
    claims           TEXT NOT NULL,
    -- The sign-in of the session in which the person created it.
    authenticated_at INTEGER NOT NULL,
    methods          TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    -- NULL: it never expires.
    expires_at       INTEGER,
    ended_at         INTEGER,
    used_at          INTEGER,
    used_network     TEXT,
    used_agent       TEXT,
    -- NULL: not before it is revoked.
    delete_after     INTEGER
) STRICT;
CREATE INDEX pat_account ON pat (account);
CREATE INDEX pat_expiry ON pat (delete_after);
