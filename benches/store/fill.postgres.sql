-- Fills a PostgreSQL store as fill.sqlite.sql does.
CREATE TEMP TABLE person AS SELECT i, decode(md5('account ' || i), 'hex') AS id FROM generate_series(0, (ROWS + 49) / 50 - 1) AS i;
CREATE INDEX ON person (i);

INSERT INTO account (id, owner, created_at, valid_after, epoch)
SELECT id, '0d9cbb2c-6ad3-4ab3-9a4d-' || lpad(to_hex(i), 12, '0'), 0, 0, 0 FROM person;

INSERT INTO session (id, hash, account, epoch, created_at, used_at, authenticated_at, methods, expires_at, remembered,
    delete_after)
SELECT upper(substr(md5('session ' || n), 1, 16)), sha256(convert_to('session ' || n, 'UTF8')), p.id, 0, 0, 0, 0, 'pwd',
    86400000000 + n::bigint * 1000, 0, 7866000000000 + n::bigint * 1000
FROM generate_series(0, ROWS - 1) AS n JOIN person AS p ON p.i = n / 50;

INSERT INTO grants (id, account, epoch, session, ends_with, client, client_uid, scopes, resources, authenticated_at, acr,
    methods, claims, created_at, expires_at, ended_at)
SELECT upper(substr(md5('grant ' || id), 1, 16)), account, 0, id, 1, 'shop.demo-app',
    '5f0c3d54-9c44-4d2e-8f0e-3a1d52b7c001', 'openid profile email offline_access', '', 0, 'pwd', 'pwd', NULL, 0,
    7779600000000 + expires_at - 86400000000, NULL
FROM session;

INSERT INTO participant (session, client, client_uid) SELECT session, client, client_uid FROM grants;

INSERT INTO refresh (id, grant_id, hash, generation, key_id, created_at, used_at, rotated_at, ended_at, delete_after)
SELECT upper(substr(md5('family ' || id), 1, 16)), id, sha256(convert_to(id, 'UTF8')), 0, 1, 0, 0, 0, NULL,
    expires_at - 3600000000
FROM grants;

DROP TABLE person;
ANALYZE;
