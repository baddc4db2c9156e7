//! Every statement of the store: one text for both engines. A tilde precedes each table's name; for PostgreSQL, the
//! schema's name replaces it.

use std::sync::Arc;

macro_rules! statements {
    ($($name:ident = $sql:expr;)*) => {
        /// A statement.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(non_camel_case_types, reason = "they read like constants")]
        pub(super) enum Statement { $($name),* }

        impl Statement {
            /// Every statement with its text.
            const ALL: &[(Self, &str)] = &[$((Self::$name, $sql)),*];
        }
    };
}

/// The columns that `area::account::account` reads, of the table `a`.
macro_rules! account {
    () => {
        "a.id, a.owner, a.created_at, a.valid_after, a.epoch"
    };
}

/// The columns that `area::session::read` reads, of the account and the table `s`.
macro_rules! session {
    () => {
        concat!(
            account!(),
            ", s.id, s.hash, s.epoch, s.created_at, s.used_at, s.authenticated_at, s.methods, s.expires_at, s.ended_at, s.remembered"
        )
    };
}

/// The columns that `area::grant::standing` reads, of the account, the session `s` and the grant `g`.
macro_rules! standing {
    () => {
        concat!(
            account!(),
            ", s.ended_at, g.id, g.epoch, g.session, g.ends_with, g.client, g.client_uid, g.scopes, g.resources, \
             g.authenticated_at, g.acr, g.methods, g.claims, g.created_at, g.expires_at, g.ended_at"
        )
    };
}

/// The columns that `area::personal_token::standing` reads, of the account and the table `p`.
macro_rules! personal {
    () => {
        concat!(
            account!(),
            ", p.id, p.hash, p.epoch, p.client, p.client_uid, p.name, p.scopes, p.audiences, p.claims, p.authenticated_at, \
             p.methods, p.created_at, p.expires_at, p.ended_at, p.used_at, p.used_network, p.used_agent"
        )
    };
}

/// Joins the grant `g` with its account and its session.
macro_rules! join_standing {
    () => {
        "JOIN ~account AS a ON a.id = g.account JOIN ~session AS s ON s.id = g.session"
    };
}

/// Makes room for a pushed request among the rows that have `$1` in a column.
macro_rules! make_room {
    ($column:literal) => {
        concat!(
            "DELETE FROM ~par WHERE id = (SELECT id FROM (SELECT id, used_at, presented_at, expires_at, \
             count(*) OVER () AS number, count(*) OVER (PARTITION BY client, site) AS held FROM ~par WHERE ",
            $column,
            " = $1) AS open WHERE number >= $2 \
             ORDER BY used_at IS NULL, held DESC, presented_at IS NOT NULL, expires_at, id LIMIT 1)"
        )
    };
}

/// Sets the columns of a session that ends at a time. Its row is kept for ten minutes, and as long as its grants: one that
/// lasted until the session would have expired would let a person fill the table by signing in again and again.
macro_rules! ended_at {
    ($time:literal) => {
        concat!(
            "ended_at = ",
            $time,
            ", delete_after = coalesce((SELECT max(g.expires_at) FROM ~grants AS g WHERE g.session = ~session.id \
             AND g.expires_at > ",
            $time,
            " + 600000000), ",
            $time,
            " + 600000000)"
        )
    };
}

statements! {
    STORE_READ = "SELECT issuer, namespace, name, uid FROM ~store WHERE \"only\" = 1";
    STORE_BIND = "INSERT INTO ~store (\"only\", issuer, namespace, name, uid, created_at, written_at) \
        VALUES (1, $1, $2, $3, $4, $5, $5) ON CONFLICT (\"only\") DO UPDATE SET namespace = excluded.namespace, \
        name = excluded.name, uid = excluded.uid, written_at = excluded.written_at";
    STORE_PROBE = "UPDATE ~store SET written_at = $1 WHERE \"only\" = 1";

    // Only for PostgreSQL.
    CLOCK_READ = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)";

    ACCOUNT_ADD = "INSERT INTO ~account (id, owner, created_at, valid_after, epoch) VALUES ($1, $2, $3, 0, 0) \
        ON CONFLICT DO NOTHING";
    // $1 belonged to an owner that is gone, such as a recreated User.
    ACCOUNT_TAKE = "UPDATE ~account SET owner = $2, created_at = $3, valid_after = $3, epoch = epoch + 1 \
        WHERE id = $1 AND owner <> $2 RETURNING id";
    ACCOUNT_READ = concat!("SELECT ", account!(), " FROM ~account AS a WHERE a.id = $1");
    ACCOUNT_BY_OWNER = concat!("SELECT ", account!(), " FROM ~account AS a WHERE a.owner = $1");
    ACCOUNT_REVOKE = "UPDATE ~account SET epoch = epoch + 1, \
        valid_after = CASE WHEN valid_after < $2 THEN $2 ELSE valid_after END WHERE id = $1";
    ACCOUNT_REVOKE_UNLESS = "UPDATE ~account SET epoch = epoch + 1, \
        valid_after = CASE WHEN valid_after < $2 THEN $2 ELSE valid_after END WHERE id = $1 AND valid_after < $3 RETURNING id";
    CREDENTIALS_READ = concat!("SELECT ", account!(), ", p.hash FROM ~account AS a LEFT JOIN ~password AS p \
        ON p.account = a.id WHERE a.owner = $1");
    PASSWORD_READ = "SELECT hash FROM ~password WHERE account = $1";
    PASSWORD_SET = "INSERT INTO ~password (account, hash, changed_at) VALUES ($1, $2, $3) \
        ON CONFLICT (account) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at";
    PASSWORD_DELETE = "DELETE FROM ~password WHERE account = $1";
    PASSWORD_RENEW = "UPDATE ~password SET hash = $2, changed_at = $3 WHERE account = $1 AND hash = $4 \
        AND EXISTS (SELECT 1 FROM ~account AS a WHERE a.id = $1 AND a.epoch = $5) RETURNING account";

    SESSION_ADD = "INSERT INTO ~session (id, hash, account, epoch, created_at, used_at, authenticated_at, methods, \
        expires_at, remembered, delete_after) SELECT $1, $2, a.id, a.epoch, $4, $4, $5, $6, $7, $9, $7 FROM ~account AS a \
        WHERE a.id = $3 AND a.epoch = $8 RETURNING id";
    SESSION_READ = concat!("SELECT ", session!(), " FROM ~session AS s JOIN ~account AS a ON a.id = s.account WHERE s.id = $1");
    SESSIONS_OF = concat!("SELECT ", session!(), " FROM ~session AS s JOIN ~account AS a ON a.id = s.account \
        WHERE s.account = $1 AND s.ended_at IS NULL ORDER BY s.created_at, s.id");
    SESSION_TOUCH = "UPDATE ~session SET used_at = $2 WHERE id = $1 AND used_at < $2 AND ended_at IS NULL";
    // A sign-in of the same person in the same browser: the session begins again under its ID.
    SESSION_RENEW = "UPDATE ~session SET hash = $2, created_at = $3, used_at = $3, authenticated_at = $3, methods = $4, \
        expires_at = $5, remembered = $8, delete_after = CASE WHEN delete_after < $5 THEN $5 ELSE delete_after END \
        WHERE id = $1 AND account = $6 AND epoch = $7 AND ended_at IS NULL \
        AND EXISTS (SELECT 1 FROM ~account AS a WHERE a.id = $6 AND a.epoch = $7) RETURNING id";
    // Keeps a session at least until $2, and a while longer: then most of its grants need not write to it.
    SESSION_KEEP = "UPDATE ~session SET delete_after = $3 WHERE id = $1 AND delete_after < $2";
    SESSION_CLIENTS = "SELECT client, client_uid FROM ~participant WHERE session = $1 ORDER BY client, client_uid";
    PARTICIPANT_ADD = "INSERT INTO ~participant (session, client, client_uid) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    // The clients of the sessions of a person that ended at $2.
    ENDED_CLIENTS = "SELECT p.session, p.client, p.client_uid FROM ~session AS s JOIN ~participant AS p \
        ON p.session = s.id WHERE s.account = $1 AND s.ended_at = $2 ORDER BY p.client, p.client_uid, p.session";
    SESSIONS_END_OF = concat!("UPDATE ~session SET ", ended_at!("$2"), " WHERE account = $1 AND ended_at IS NULL RETURNING id");
    SESSION_END = concat!("UPDATE ~session SET ", ended_at!("$2"), " WHERE id = $1 AND ended_at IS NULL RETURNING account");
    // Ends all but $3 sessions of a person besides the session $4.
    SESSION_SURPLUS = concat!("UPDATE ~session SET ", ended_at!("$2"), " WHERE account = $1 AND ended_at IS NULL AND id <> $4 \
        AND id NOT IN (SELECT id FROM ~session WHERE account = $1 AND ended_at IS NULL AND id <> $4 \
        ORDER BY created_at DESC, id DESC LIMIT $3) RETURNING id");
    // Begins a session of a person who has fewer than $10 others, so that none of them must end.
    SESSION_BEGIN = "WITH begun AS (INSERT INTO ~session (id, hash, account, epoch, created_at, used_at, \
        authenticated_at, methods, expires_at, remembered, delete_after) SELECT $1, $2, a.id, a.epoch, $4, $4, $5, $6, $7, $9, $7 \
        FROM ~account AS a WHERE a.id = $3 AND a.epoch = $8 AND (SELECT count(*) FROM (SELECT 1 FROM ~session \
        WHERE account = $3 AND ended_at IS NULL LIMIT $10) AS others) < $10 RETURNING id), \
        refund AS (SELECT r.subject, r.step FROM unnest($11, $12) AS r (subject, step)), \
        refunded AS (UPDATE ~attempt AS t SET at = t.at - refund.step FROM refund WHERE t.subject = refund.subject \
        AND EXISTS (SELECT 1 FROM begun)) \
        SELECT id FROM begun";
    // What one browser brings to an authorization request: the session $1, the person's consent to the client $2, and
    // the pushed request $3. Each may be absent.
    AUTHORIZE_READ = concat!("SELECT ", session!(), ", c.client_uid, c.scopes, c.given_at, \
        p.id, p.hash, p.client, p.request, p.expires_at, p.presented_at, p.used_at FROM (SELECT 1 AS n) AS o \
        LEFT JOIN ~session AS s ON s.id = $1 LEFT JOIN ~account AS a ON a.id = s.account \
        LEFT JOIN ~consent AS c ON c.account = a.id AND c.client = $2 LEFT JOIN ~par AS p ON p.id = $3");

    GRANT_ADD = "INSERT INTO ~grants (id, account, session, ends_with, client, client_uid, scopes, resources, \
        created_at, expires_at, epoch, authenticated_at, acr, methods, claims) \
        SELECT $1, a.id, s.id, $4, $5, $6, $7, $8, $9, $10, a.epoch, $12, $13, $14, $15 \
        FROM ~account AS a JOIN ~session AS s ON s.account = a.id \
        WHERE a.id = $2 AND s.id = $3 AND s.ended_at IS NULL AND s.expires_at > $9 AND a.epoch = $11 AND s.epoch = $11 \
        RETURNING id";
    GRANT_READ = concat!("SELECT ", standing!(), " FROM ~grants AS g ", join_standing!(), " WHERE g.id = $1");
    GRANT_END = "UPDATE ~grants SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL RETURNING id";
    GRANT_EXTEND = "UPDATE ~grants SET expires_at = $2 WHERE id = $1 AND ended_at IS NULL RETURNING id";
    GRANTS_END_OF_SESSION = "UPDATE ~grants SET ended_at = $2 WHERE session = $1 AND ends_with = 0 AND ended_at IS NULL";
    GRANTS_END_OF_CLIENT = "UPDATE ~grants SET ended_at = $3 WHERE account = $1 AND client = $2 AND ended_at IS NULL";

    // The grants of a person and client that must go, without the grant $3, which has just begun with its code: beyond the
    // newest $4 whose codes are not redeemed yet, and beyond $5 others. Of the others those go last that have refresh
    // tokens, and those first that have ended at $6. $7: the uid of the client's resource.
    GRANTS_SURPLUS = "SELECT id, CAST(kind AS BIGINT) FROM (SELECT id, kind, row_number() OVER (PARTITION BY kind = 3 \
        ORDER BY kind, created_at DESC, id) AS place FROM (SELECT g.id, g.created_at, \
        CASE WHEN g.ended_at IS NOT NULL OR g.expires_at <= $6 OR g.epoch <> a.epoch OR g.client_uid <> $7 THEN 2 \
        WHEN EXISTS (SELECT 1 FROM ~code AS c WHERE c.grant_id = g.id AND c.used_at IS NULL) THEN 3 \
        WHEN EXISTS (SELECT 1 FROM ~refresh AS r WHERE r.grant_id = g.id AND r.ended_at IS NULL) THEN 0 \
        ELSE 1 END AS kind FROM ~grants AS g JOIN ~account AS a ON a.id = g.account \
        WHERE g.account = $1 AND g.client = $2 AND g.id <> $3) AS o) AS open \
        WHERE place > CASE WHEN kind = 3 THEN $4 ELSE $5 END ORDER BY place LIMIT 1000";
    // A request that redeems the code at the same time is first or finds nothing.
    GRANT_UNUSED_CODE_DELETE = "DELETE FROM ~code WHERE grant_id = $1 AND used_at IS NULL RETURNING id";
    GRANT_CODES_DELETE = "DELETE FROM ~code WHERE grant_id = $1";
    GRANT_REFRESHES_DELETE = "DELETE FROM ~refresh WHERE grant_id = $1";
    GRANT_DELETE = "DELETE FROM ~grants WHERE id = $1";

    CODE_ADD = "INSERT INTO ~code (id, hash, grant_id, redirect_uri, challenge, nonce, expires_at, delete_after) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    // Below, what $24 says about the consent: 0, none is needed; 1, it must be recorded; 2, it is given now. The lock
    // makes a withdrawal wait for this grant, and then end it.
    CODE_ISSUE = "WITH sound AS (SELECT a.id AS account, s.id AS session FROM ~account AS a \
        JOIN ~session AS s ON s.account = a.id WHERE a.id = $2 AND s.id = $3 AND s.ended_at IS NULL \
        AND s.expires_at > $9 AND a.epoch = $11 AND s.epoch = $11), \
        agreed AS (SELECT 1 FROM ~consent AS c WHERE $24 = 1 AND c.account = $2 AND c.client = $5 AND c.client_uid = $6 \
        AND c.scopes = $25 FOR KEY SHARE), \
        allowed AS (SELECT account, session FROM sound WHERE $24 <> 1 OR EXISTS (SELECT 1 FROM agreed)), \
        used AS (UPDATE ~par SET used_at = $26, delete_after = $26, request = '' WHERE id = $23 AND client = $5 AND used_at IS NULL \
        AND EXISTS (SELECT 1 FROM allowed) RETURNING id), \
        granted AS (INSERT INTO ~grants (id, account, session, ends_with, client, client_uid, scopes, resources, \
        created_at, expires_at, epoch, authenticated_at, acr, methods, claims) \
        SELECT $1, account, session, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15 FROM allowed \
        WHERE $23 IS NULL OR EXISTS (SELECT 1 FROM used) RETURNING id, account, session), \
        taken_part AS (INSERT INTO ~participant (session, client, client_uid) SELECT session, $5, $6 FROM granted \
        ON CONFLICT DO NOTHING), \
        given AS (INSERT INTO ~consent (account, client, client_uid, scopes, given_at) \
        SELECT account, $5, $6, $25, $26 FROM granted WHERE $24 = 2 ON CONFLICT (account, client) \
        DO UPDATE SET client_uid = excluded.client_uid, scopes = excluded.scopes, given_at = excluded.given_at) \
        INSERT INTO ~code (id, hash, grant_id, redirect_uri, challenge, nonce, expires_at, delete_after) \
        SELECT $16, $17, id, $18, $19, $20, $21, $22 FROM granted \
        RETURNING (SELECT count(*) FROM (SELECT 1 FROM ~grants WHERE account = $2 AND client = $5 LIMIT $27) AS known)";
    CODE_READ = concat!("SELECT ", standing!(), ", c.id, c.hash, c.redirect_uri, c.challenge, c.nonce, c.expires_at, c.used_at \
        FROM ~code AS c JOIN ~grants AS g ON g.id = c.grant_id ", join_standing!(), " WHERE c.id = $1");
    CODE_USE = "UPDATE ~code SET used_at = $3 WHERE id = $1 AND hash = $2 AND used_at IS NULL AND expires_at > $3 \
        RETURNING id";

    // $6: the ID of the new family, or NULL. A grant that ended at the same time leaves the code used and gives nothing.
    // The session is kept as by SESSION_KEEP.
    CODE_TAKE = "WITH used AS (UPDATE ~code SET used_at = $3 WHERE id = $1 AND hash = $2 AND used_at IS NULL \
        AND expires_at > $3 RETURNING grant_id), \
        extended AS (UPDATE ~grants SET expires_at = $5 WHERE id = $4 AND id IN (SELECT grant_id FROM used) \
        AND ended_at IS NULL RETURNING id, session), \
        kept AS (UPDATE ~session SET delete_after = $12 WHERE id IN (SELECT session FROM extended) AND delete_after < $5 \
        AND $6 IS NOT NULL), \
        family AS (INSERT INTO ~refresh (id, grant_id, hash, generation, key_id, created_at, used_at, rotated_at, \
        delete_after) SELECT $6, id, $7, $8, $9, $10, $10, $10, $11 FROM extended WHERE $6 IS NOT NULL) \
        SELECT id FROM extended";
    REFRESH_ADD = "INSERT INTO ~refresh (id, grant_id, hash, generation, key_id, created_at, used_at, rotated_at, \
        delete_after) VALUES ($1, $2, $3, $4, $5, $6, $6, $6, $7)";
    REFRESH_READ = concat!("SELECT ", standing!(), ", r.id, r.hash, r.generation, r.key_id, r.created_at, r.used_at, r.rotated_at, \
        r.ended_at FROM ~refresh AS r JOIN ~grants AS g ON g.id = r.grant_id ", join_standing!(), " WHERE r.id = $1");
    REFRESH_ROTATE = "UPDATE ~refresh SET hash = $3, generation = $4, key_id = $5, rotated_at = $6, used_at = $7 \
        WHERE id = $1 AND hash = $2 AND ended_at IS NULL RETURNING id";
    REFRESH_TOUCH = "UPDATE ~refresh SET used_at = $2 WHERE id = $1 AND used_at < $2 AND ended_at IS NULL";
    REFRESH_END = "UPDATE ~refresh SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";

    CONSENT_READ = "SELECT client_uid, scopes, given_at FROM ~consent WHERE account = $1 AND client = $2";
    CONSENT_GIVE = "INSERT INTO ~consent (account, client, client_uid, scopes, given_at) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (account, client) DO UPDATE SET client_uid = excluded.client_uid, scopes = excluded.scopes, \
        given_at = excluded.given_at";
    CONSENT_WITHDRAW = "DELETE FROM ~consent WHERE account = $1 AND client = $2";

    // Every row counts that exists, whether it is still of use or not: the bound is one of bytes.
    PAR_ADD = "INSERT INTO ~par (id, hash, client, room, site, request, expires_at, delete_after) \
        SELECT $1, $2, $3, $4, $9, $5, $6, $6 \
        WHERE (SELECT count(*) FROM (SELECT 1 FROM ~par WHERE client = $3 LIMIT $7) AS open) < $7 \
        AND (SELECT count(*) FROM (SELECT 1 FROM ~par WHERE room = $4 LIMIT $8) AS open) < $8 RETURNING id";
    // If $2 rows are there: deletes a used one; else one of the client and site that hold most, and of those the oldest
    // that no browser has presented.
    PAR_MAKE_ROOM_OF_CLIENT = make_room!("client");
    PAR_MAKE_ROOM_OF_NAMESPACE = make_room!("room");
    PAR_READ = "SELECT id, hash, client, request, expires_at, presented_at, used_at FROM ~par WHERE id = $1";
    PAR_PRESENT = "UPDATE ~par SET presented_at = $2, delete_after = $3 WHERE id = $1 AND presented_at IS NULL AND used_at IS NULL";
    // A used request is of no use to anyone.
    PAR_USE = "UPDATE ~par SET used_at = $2, delete_after = $2, request = '' \
        WHERE id = $1 AND client = $3 AND used_at IS NULL RETURNING id";

    // Every row of the person counts, also of a token that has ended: the bound is one of rows.
    PAT_ADD = "INSERT INTO ~pat (id, hash, account, epoch, client, client_uid, name, scopes, audiences, claims, \
        authenticated_at, methods, created_at, expires_at, delete_after) \
        SELECT $1, $2, a.id, a.epoch, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15 FROM ~account AS a \
        WHERE a.id = $3 AND a.epoch = $4 \
        AND (SELECT count(*) FROM (SELECT 1 FROM ~pat WHERE account = $3 LIMIT $16) AS open) < $16 RETURNING id";
    // A token of an epoch that is not $3, the account's, has ended.
    PAT_MAKE_ROOM = "DELETE FROM ~pat WHERE id = (SELECT id FROM ~pat WHERE account = $1 \
        AND (ended_at IS NOT NULL OR expires_at <= $2 OR epoch <> $3) ORDER BY created_at, id LIMIT 1)";
    PAT_READ = concat!("SELECT ", personal!(), " FROM ~pat AS p JOIN ~account AS a ON a.id = p.account WHERE p.id = $1");
    PATS_OF = concat!("SELECT ", personal!(), " FROM ~pat AS p JOIN ~account AS a ON a.id = p.account \
        WHERE p.account = $1 ORDER BY p.created_at DESC, p.id");
    PAT_END = "UPDATE ~pat SET ended_at = $3, delete_after = $4 WHERE id = $1 AND account = $2 AND ended_at IS NULL \
        RETURNING id";
    PATS_END_OF = "UPDATE ~pat SET ended_at = $2, delete_after = $3 WHERE account = $1 AND ended_at IS NULL RETURNING id";
    PAT_USED = "UPDATE ~pat SET used_at = $2, used_network = $3, used_agent = $4 \
        WHERE id = $1 AND (used_at IS NULL OR used_at <= $5) AND ended_at IS NULL";

    ENROLMENT_USE = "INSERT INTO ~enrolment (link, account, used_at, delete_after) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (link) DO NOTHING RETURNING link";
    // What ended a link, if anything did: 0, its use; 1, the withdrawal $2 of its value.
    ENROLMENT_READ = "SELECT CAST(0 AS BIGINT) AS cause FROM ~enrolment WHERE link = $1 \
        UNION ALL SELECT CAST(1 AS BIGINT) FROM ~once WHERE value = $2 AND expires_at > $3 ORDER BY cause LIMIT 1";
    ENROLMENT_WITHDRAW = "INSERT INTO ~once AS o (value, expires_at) VALUES ($1, $2) ON CONFLICT (value) \
        DO UPDATE SET expires_at = excluded.expires_at WHERE o.expires_at < excluded.expires_at";

    ONCE_ADD = "INSERT INTO ~once AS o (value, expires_at) VALUES ($1, $2) ON CONFLICT (value) \
        DO UPDATE SET expires_at = excluded.expires_at WHERE o.expires_at <= $3 RETURNING value";

    ATTEMPT_RESERVE = "INSERT INTO ~attempt AS a (subject, at) VALUES ($1, $2) ON CONFLICT (subject) \
        DO UPDATE SET at = CASE WHEN a.at + $3 > $2 THEN a.at + $3 ELSE $2 END WHERE a.at + $3 <= $4 RETURNING at";
    // Reserves an attempt for each subject, or for none. Only if the first attempts of a subject race can it reserve for
    // some: the caller gives those back. A comparison with what a row is cannot name the wanted values of its own row,
    // so it looks them up.
    ATTEMPTS_RESERVE = "WITH wanted AS (SELECT w.subject, w.lower_at, w.step, w.upper_at \
        FROM unnest($1, $2, $3, $4) AS w (subject, lower_at, step, upper_at)), \
        refused AS (SELECT 1 FROM wanted JOIN ~attempt AS t ON t.subject = wanted.subject \
        WHERE t.at + wanted.step > wanted.upper_at) \
        INSERT INTO ~attempt AS t (subject, at) SELECT subject, lower_at FROM wanted \
        WHERE NOT EXISTS (SELECT 1 FROM refused) ORDER BY subject ON CONFLICT (subject) DO UPDATE \
        SET at = greatest(t.at + (SELECT step FROM wanted WHERE wanted.subject = t.subject), excluded.at) \
        WHERE t.at + (SELECT step FROM wanted WHERE wanted.subject = t.subject) \
        <= (SELECT upper_at FROM wanted WHERE wanted.subject = t.subject) RETURNING subject";
    ATTEMPT_REFUND = "UPDATE ~attempt SET at = at - $2 WHERE subject = $1";
    ATTEMPT_READ = "SELECT at FROM ~attempt WHERE subject = $1";
    ATTEMPT_CLEAR = "DELETE FROM ~attempt WHERE subject = $1 RETURNING subject";

    // Every row counts, whether its client answers or not.
    OUTBOX_ADD = "INSERT INTO ~outbox (id, client, client_uid, namespace, account, session, tries, next_at, expires_at) \
        SELECT $1, $2, $3, $4, $5, $6, 0, $7, $8 \
        WHERE (SELECT count(*) FROM (SELECT 1 FROM ~outbox WHERE client = $2 LIMIT $9) AS open) < $9 \
        AND (SELECT count(*) FROM (SELECT 1 FROM ~outbox WHERE namespace = $4 LIMIT $10) AS open) < $10 RETURNING id";
    // The oldest notice that is due of each client. The index leads from one client to the next, so that a client with
    // thousands of notices costs no more than one.
    OUTBOX_DUE = "SELECT found.client, found.namespace, found.since FROM (SELECT one.client, \
        (SELECT d.namespace FROM ~outbox AS d WHERE d.client = one.client ORDER BY d.next_at LIMIT 1) AS namespace, \
        (SELECT d.next_at FROM ~outbox AS d WHERE d.client = one.client AND d.next_at <= $1 AND d.expires_at > $1 \
        ORDER BY d.next_at LIMIT 1) AS since \
        FROM (WITH RECURSIVE known (client) AS (SELECT min(client) FROM ~outbox UNION ALL \
        SELECT (SELECT min(m.client) FROM ~outbox AS m WHERE m.client > known.client) FROM known \
        WHERE known.client IS NOT NULL) SELECT client FROM known WHERE client IS NOT NULL) AS one) AS found \
        WHERE found.since IS NOT NULL ORDER BY found.since, found.client";
    // Takes some notices of a client until $3. The second condition is for one that another replica takes at the same time.
    OUTBOX_TAKE = "UPDATE ~outbox SET next_at = $3, tries = tries + 1 WHERE id IN (SELECT id FROM ~outbox \
        WHERE client = $1 AND next_at <= $2 AND expires_at > $2 ORDER BY next_at LIMIT $4 FOR UPDATE SKIP LOCKED) \
        AND next_at <= $2 RETURNING id, client, client_uid, account, session, tries";
    // Only if no other replica has taken it in the meantime, because this one was late.
    OUTBOX_PUT_BACK = "UPDATE ~outbox SET next_at = $3, tries = $4 WHERE id = $1 AND next_at = $2";
    OUTBOX_END = "DELETE FROM ~outbox WHERE id = $1";

    DELETE_CODES = "DELETE FROM ~code WHERE id IN (SELECT id FROM ~code WHERE delete_after <= $1 \
        ORDER BY delete_after LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";
    DELETE_REFRESHES = "DELETE FROM ~refresh WHERE id IN (SELECT id FROM ~refresh WHERE delete_after <= $1 \
        ORDER BY delete_after LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";
    DELETE_GRANTS = "DELETE FROM ~grants WHERE id IN (SELECT g.id FROM ~grants AS g WHERE g.expires_at <= $1 \
        AND NOT EXISTS (SELECT 1 FROM ~code AS c WHERE c.grant_id = g.id) \
        AND NOT EXISTS (SELECT 1 FROM ~refresh AS r WHERE r.grant_id = g.id) ORDER BY g.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";
    DELETE_SESSIONS = "DELETE FROM ~session WHERE id IN (SELECT s.id FROM ~session AS s WHERE s.delete_after <= $1 \
        AND NOT EXISTS (SELECT 1 FROM ~grants AS g WHERE g.session = s.id) ORDER BY s.delete_after LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";
    DELETE_PARS = "DELETE FROM ~par WHERE id IN (SELECT id FROM ~par WHERE delete_after <= $1 \
        ORDER BY delete_after LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";
    DELETE_PATS = "DELETE FROM ~pat WHERE id IN (SELECT id FROM ~pat WHERE delete_after <= $1 \
        ORDER BY delete_after LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";
    DELETE_ENROLMENTS = "DELETE FROM ~enrolment WHERE link IN (SELECT link FROM ~enrolment WHERE delete_after <= $1 \
        ORDER BY delete_after LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";
    DELETE_ONCE = "DELETE FROM ~once WHERE value IN (SELECT value FROM ~once WHERE expires_at <= $1 \
        ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";
    DELETE_ATTEMPTS = "DELETE FROM ~attempt WHERE subject IN (SELECT subject FROM ~attempt WHERE at <= $1 \
        ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED) AND at <= $1 RETURNING 1";
    DELETE_NOTICES = "DELETE FROM ~outbox WHERE id IN (SELECT id FROM ~outbox WHERE expires_at <= $1 \
        ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";

    OLDEST_CODE = "SELECT min(delete_after) FROM ~code";
    OLDEST_REFRESH = "SELECT min(delete_after) FROM ~refresh";
    OLDEST_GRANT = "SELECT min(expires_at) FROM ~grants";
    OLDEST_SESSION = "SELECT min(delete_after) FROM ~session";
    OLDEST_PAR = "SELECT min(delete_after) FROM ~par";
    OLDEST_PAT = "SELECT min(delete_after) FROM ~pat";
    OLDEST_ENROLMENT = "SELECT min(delete_after) FROM ~enrolment";
    OLDEST_ONCE = "SELECT min(expires_at) FROM ~once";
    OLDEST_ATTEMPT = "SELECT min(at) FROM ~attempt";
    OLDEST_NOTICE = "SELECT min(expires_at) FROM ~outbox";
}

/// The texts of all statements for one engine and schema.
pub(super) struct Texts(Box<[Arc<str>]>);

/// Lets replicas that delete at the same time take different rows. SQLite has one writer and does not know the clause.
const SKIP_LOCKED: &str = " FOR UPDATE SKIP LOCKED";

impl Texts {
    /// Writes the texts for PostgreSQL with `qualifier` before each table's name; for SQLite it is empty.
    pub(super) fn new(qualifier: &str) -> Self {
        let skip = if qualifier.is_empty() {
            ""
        } else {
            SKIP_LOCKED
        };
        let write = |(_, sql): &(Statement, &str)| {
            sql.replace('~', qualifier)
                .replace(SKIP_LOCKED, skip)
                .into()
        };
        Self(Statement::ALL.iter().map(write).collect())
    }

    /// Returns the text of a statement.
    pub(super) fn of(&self, statement: Statement) -> Arc<str> {
        Arc::clone(&self.0[statement as usize])
    }
}

/// Returns the name and the text of every statement, for the engine and schema of `qualifier` as in [`Texts::new`].
/// Benchmarks execute them by the driver alone.
pub fn texts(qualifier: &str) -> Vec<(String, Arc<str>)> {
    let texts = Texts::new(qualifier);
    let all = Statement::ALL.iter();
    all.map(|(statement, _)| (format!("{statement:?}"), texts.of(*statement)))
        .collect()
}

impl Statement {
    /// Whether it changes rows.
    pub(super) fn writes(self) -> bool {
        !Self::ALL[self as usize].1.starts_with("SELECT")
    }

    /// Whether it carries out a whole operation, in one round trip. Only PostgreSQL can execute it; on SQLite several
    /// statements do the same.
    #[cfg(test)]
    pub(super) fn is_whole(self) -> bool {
        Self::ALL[self as usize].1.starts_with("WITH") || self == Self::CLOCK_READ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_is_qualified() {
        let texts = Texts::new("\"people\".");
        for (statement, sql) in Statement::ALL {
            let text = texts.of(*statement);
            assert!(!text.contains('~'), "{text}");
            for keyword in ["FROM ", "INTO ", "UPDATE ", "JOIN "] {
                for (at, _) in sql.match_indices(keyword) {
                    let table = &sql[at + keyword.len()..];
                    let is_subquery = ["(", "SET ", "SKIP LOCKED)", "unnest(", "clock_timestamp()"]
                        .iter()
                        .any(|it| table.starts_with(it));
                    let name = table.split([' ', ')']).next().unwrap_or_default();
                    let is_step = sql.contains(&format!(" {name} AS (")) && statement.is_whole()
                        || sql.contains(&format!("WITH RECURSIVE {name} ("));
                    assert!(
                        is_subquery || is_step || table.starts_with('~'),
                        "{statement:?}: {table}"
                    );
                }
            }
        }
    }

    /// A statement that scans a table is slow once the table is large.
    #[tokio::test]
    async fn each_statement_finds_its_rows_by_an_index() {
        let store = crate::store::Store::in_memory().await.unwrap();
        let texts = Texts::new("");
        let all = Statement::ALL.iter();
        for (statement, _) in all.filter(|(statement, _)| !statement.is_whole()) {
            let sql = format!("EXPLAIN QUERY PLAN {}", texts.of(*statement));
            for row in store.all(&sql).await.unwrap() {
                let step = row.text(3).unwrap();
                // The subqueries that count open rows or grants are bounded by their LIMIT, or by what is found by an index,
                // and known clients have one row each; the others have one row. SQLite adds one without a name for each
                // window.
                let is_bounded = ["SCAN open", "SCAN o", "SCAN known", "SCAN CONSTANT ROW"]
                    .contains(&&*step)
                    || step.starts_with("SCAN (subquery-");
                let is_scan = step.starts_with("SCAN") && !step.contains("USING");
                assert!(!is_scan || is_bounded, "{statement:?}: {step}");
            }
        }
    }
}
