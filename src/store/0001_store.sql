-- 0x53594D42, "SYMB": what is not marked so is not opened.
PRAGMA application_id = 1398361410;

-- Whose file this is: one row.
CREATE TABLE store (
    only       INTEGER PRIMARY KEY CHECK (only = 1),
    issuer     TEXT NOT NULL,
    namespace  TEXT NOT NULL,
    name       TEXT NOT NULL,
    uid        TEXT NOT NULL,
    created_at TEXT NOT NULL,
    -- The last moment at which the file could be written to.
    written_at TEXT NOT NULL
) STRICT;
