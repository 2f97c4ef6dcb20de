-- Metadata: every revision that was put. `payloads.metadata` says which is the latest.

CREATE TABLE metadata (
    payload      BLOB    NOT NULL,
    revision     INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    content_type TEXT    NOT NULL,
    actor        TEXT    NOT NULL,
    reason       TEXT,
    at           INTEGER NOT NULL,
    body         BLOB    NOT NULL,
    PRIMARY KEY (payload, revision)
) WITHOUT ROWID, STRICT;

-- When a revision ceased to be the latest. Not a column of `metadata`: setting it would write the old body again.
CREATE TABLE metadata_superseded (
    at       INTEGER NOT NULL,
    payload  BLOB    NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (at, payload, revision)
) WITHOUT ROWID, STRICT;
