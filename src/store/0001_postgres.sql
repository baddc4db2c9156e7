-- The tables of a PostgreSQL store. The program replaces the tilde before a table's name by the schema.

-- Whose store this is: one row.
CREATE TABLE ~store (
    "only"     BIGINT PRIMARY KEY CHECK ("only" = 1),
    issuer     TEXT NOT NULL,
    namespace  TEXT NOT NULL,
    name       TEXT NOT NULL,
    uid        TEXT NOT NULL,
    created_at TEXT NOT NULL,
    -- The last time at which the store could be written to.
    written_at TEXT NOT NULL
);

-- People: accounts, sessions, grants and what was issued from them. Times are microseconds since 1970; hashes are SHA-256.

CREATE TABLE ~account (
    id          BYTEA PRIMARY KEY,
    -- What it belongs to, such as the uid of a User.
    owner       TEXT NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL,
    -- Enrolment links that were issued before this time do not work.
    valid_after BIGINT NOT NULL,
    -- Raised by each revocation. Sessions and grants of another epoch have ended.
    epoch       BIGINT NOT NULL
);

CREATE TABLE ~password (
    account    BYTEA PRIMARY KEY REFERENCES ~account (id),
    -- A PHC string.
    hash       TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE ~session (
    id               TEXT PRIMARY KEY,
    hash             BYTEA NOT NULL,
    account          BYTEA NOT NULL REFERENCES ~account (id),
    epoch            BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    used_at          BIGINT NOT NULL,
    authenticated_at BIGINT NOT NULL,
    methods          TEXT NOT NULL,
    expires_at       BIGINT NOT NULL,
    ended_at         BIGINT,
    -- 1: the person chose to stay signed in.
    remembered       BIGINT NOT NULL,
    -- Its end, or that of a grant with refresh tokens, which outlives it and refers to it.
    delete_after     BIGINT NOT NULL
);
CREATE INDEX session_account ON ~session (account);
CREATE INDEX session_expiry ON ~session (delete_after);

CREATE TABLE ~grants (
    id               TEXT PRIMARY KEY,
    account          BYTEA NOT NULL REFERENCES ~account (id),
    epoch            BIGINT NOT NULL,
    session          TEXT NOT NULL REFERENCES ~session (id),
    -- 0: the session's revocation ends it. 1: it does not.
    ends_with        BIGINT NOT NULL,
    client           TEXT NOT NULL,
    client_uid       TEXT NOT NULL,
    scopes           TEXT NOT NULL,
    resources        TEXT NOT NULL,
    -- The sign-in in which the person allowed it.
    authenticated_at BIGINT NOT NULL,
    acr              TEXT NOT NULL,
    methods          TEXT NOT NULL,
    -- The claims that the authorization request named.
    claims           TEXT,
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    ended_at         BIGINT
);
CREATE INDEX grants_account ON ~grants (account);
CREATE INDEX grants_session ON ~grants (session);
CREATE INDEX grants_expiry ON ~grants (expires_at);

-- The clients that got a grant in a session, which are told of its end. They outlive their grants.
CREATE TABLE ~participant (
    session    TEXT NOT NULL REFERENCES ~session (id) ON DELETE CASCADE,
    client     TEXT NOT NULL,
    client_uid TEXT NOT NULL,
    PRIMARY KEY (session, client, client_uid)
);

CREATE TABLE ~code (
    id           TEXT PRIMARY KEY,
    hash         BYTEA NOT NULL,
    grant_id     TEXT NOT NULL REFERENCES ~grants (id),
    redirect_uri TEXT NOT NULL,
    challenge    TEXT,
    nonce        TEXT,
    expires_at   BIGINT NOT NULL,
    used_at      BIGINT,
    delete_after BIGINT NOT NULL
);
CREATE INDEX code_grant ON ~code (grant_id);
CREATE INDEX code_expiry ON ~code (delete_after);

-- One row for each family, updated in place. No index covers a column that a refresh changes, and each page has room for
-- the next version of its rows.
CREATE TABLE ~refresh (
    id           TEXT PRIMARY KEY,
    grant_id     TEXT NOT NULL REFERENCES ~grants (id),
    hash         BYTEA NOT NULL,
    generation   BIGINT NOT NULL,
    key_id       BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    used_at      BIGINT NOT NULL,
    rotated_at   BIGINT NOT NULL,
    ended_at     BIGINT,
    delete_after BIGINT NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX refresh_grant ON ~refresh (grant_id);
CREATE INDEX refresh_expiry ON ~refresh (delete_after);

CREATE TABLE ~consent (
    account    BYTEA NOT NULL REFERENCES ~account (id),
    client     TEXT NOT NULL,
    -- The uid of the client's resource: a recreated client asks again.
    client_uid TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    given_at   BIGINT NOT NULL,
    PRIMARY KEY (account, client)
);

CREATE TABLE ~par (
    id           TEXT PRIMARY KEY,
    hash         BYTEA NOT NULL,
    client       TEXT NOT NULL,
    -- Whose requests share what can be stored: those of the clients of a namespace that prove who they are, or those that
    -- anyone can push.
    room         TEXT NOT NULL,
    -- A hash of the site that pushed it, if anyone can.
    site         BYTEA,
    request      TEXT NOT NULL,
    expires_at   BIGINT NOT NULL,
    presented_at BIGINT,
    used_at      BIGINT,
    delete_after BIGINT NOT NULL
);
CREATE INDEX par_client ON ~par (client);
CREATE INDEX par_room ON ~par (room);
CREATE INDEX par_expiry ON ~par (delete_after);

-- Enrolment links that were used.
CREATE TABLE ~enrolment (
    link         BYTEA PRIMARY KEY,
    account      BYTEA NOT NULL REFERENCES ~account (id),
    used_at      BIGINT NOT NULL,
    delete_after BIGINT NOT NULL
);
CREATE INDEX enrolment_account ON ~enrolment (account);
CREATE INDEX enrolment_expiry ON ~enrolment (delete_after);

-- Values that are accepted once, such as the jti of a client assertion.
CREATE TABLE ~once (
    value      BYTEA PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX once_expiry ON ~once (expires_at);

-- The gate against guessing.
CREATE TABLE ~attempt (
    subject BYTEA PRIMARY KEY,
    at      BIGINT NOT NULL
);
CREATE INDEX attempt_expiry ON ~attempt (at);
