-- Fills a SQLite store: ROWS sessions of ROWS / 50 people, each with a grant and a family of refresh tokens. IDs are as
-- long as real ones and in no order. Sessions last a day, grants and families 90 days. Each row expires a millisecond
-- after the one before it.
CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ROWS - 1) SELECT i FROM n;

INSERT INTO account (id, owner, created_at, valid_after, epoch)
SELECT randomblob(16), printf('0d9cbb2c-6ad3-4ab3-9a4d-%012x', i), 0, 0, 0 FROM n WHERE i < (ROWS + 49) / 50;

CREATE TEMP TABLE person AS SELECT row_number() OVER () - 1 AS i, id FROM account;
CREATE INDEX temp.person_i ON person (i);

INSERT INTO session (id, hash, account, epoch, created_at, used_at, authenticated_at, methods, expires_at, remembered,
    delete_after)
SELECT hex(randomblob(8)), randomblob(32), p.id, 0, 0, 0, 0, 'pwd', 86400000000 + n.i * 1000, 0,
    7866000000000 + n.i * 1000
FROM n JOIN temp.person AS p ON p.i = n.i / 50;

INSERT INTO grants (id, account, epoch, session, ends_with, client, client_uid, scopes, resources, authenticated_at, acr,
    methods, claims, created_at, expires_at, ended_at)
SELECT hex(randomblob(8)), account, 0, id, 1, 'shop.demo-app', '5f0c3d54-9c44-4d2e-8f0e-3a1d52b7c001',
    'openid profile email offline_access', '', 0, 'pwd', 'pwd', NULL, 0, 7779600000000 + expires_at - 86400000000, NULL
FROM session;

INSERT INTO participant (session, client, client_uid) SELECT session, client, client_uid FROM grants;

INSERT INTO refresh (id, grant_id, hash, generation, key_id, created_at, used_at, rotated_at, ended_at, delete_after)
SELECT hex(randomblob(8)), id, randomblob(32), 0, 1, 0, 0, 0, NULL, expires_at - 3600000000 FROM grants;

DROP TABLE temp.person;
DROP TABLE temp.n;
