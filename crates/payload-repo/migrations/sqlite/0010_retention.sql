-- What is kept for a time only, and from when that counts.

-- When a move of a name was over: a later one took its place, or the name is gone. Not a column of `name_history`, which is
-- in the order of names.
CREATE TABLE name_moves_over (
    at        INTEGER NOT NULL,
    namespace TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    version   INTEGER NOT NULL,
    PRIMARY KEY (at, namespace, name, version)
) WITHOUT ROWID, STRICT;

-- Payloads that have ended, and when. One that something was made from is parked until that is gone.
CREATE TABLE tombstones (
    payload BLOB    NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    parked  INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE INDEX tombstones_due ON tombstones (at, payload) WHERE parked = 0;

-- What the removed events of a payload add up to, written like an event that makes all of it.
CREATE TABLE event_bases (
    payload BLOB    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    body    BLOB    NOT NULL
) WITHOUT ROWID, STRICT;
