-- Names of payloads: where each points, and where it has pointed. Only payloads that are named pay for them.

CREATE TABLE names (
    namespace TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    payload   BLOB    NOT NULL,
    version   INTEGER NOT NULL,
    actor     TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID, STRICT;

-- The names of one payload.
CREATE INDEX names_by_payload ON names (payload, name);

-- Goes on counting where it was when a name that was taken away is given again.
CREATE TABLE name_history (
    namespace    TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    from_payload BLOB,
    to_payload   BLOB,
    actor        TEXT    NOT NULL,
    reason       TEXT,
    at           INTEGER NOT NULL,
    PRIMARY KEY (namespace, name, version)
) WITHOUT ROWID, STRICT;
