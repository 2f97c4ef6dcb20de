-- Streams: ordered logs of payload references, with the positions of groups and what is remembered of producers.
--
-- A stream's id is its incarnation. Deleting one takes its name away (ended = 1); its entries follow in small batches.
-- Offsets come from `head`, in the transaction that writes the entries. `trims` is 1 if something may have to leave.

CREATE TABLE streams (
    id                BLOB    NOT NULL PRIMARY KEY,
    namespace         TEXT    NOT NULL,
    name              TEXT    NOT NULL,
    hold              TEXT    NOT NULL,
    retention_entries INTEGER,
    retention_age_ns  INTEGER,
    retention_bytes   INTEGER,
    batch_max         INTEGER NOT NULL,
    version           INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    ended             INTEGER NOT NULL,
    trims             INTEGER NOT NULL,
    earliest          INTEGER NOT NULL,
    head              INTEGER NOT NULL,
    last_at           INTEGER NOT NULL,
    bytes             INTEGER NOT NULL,
    bytes_trimmed     INTEGER NOT NULL,
    group_count       INTEGER NOT NULL,
    producer_count    INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE UNIQUE INDEX streams_by_name ON streams (namespace, name) WHERE ended = 0;

CREATE INDEX streams_to_trim ON streams (id) WHERE trims = 1;

CREATE TABLE stream_counts (
    namespace TEXT    NOT NULL PRIMARY KEY,
    streams   INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

-- Times never go back along a stream, so that an offset is found by time with a few reads and without an index.
CREATE TABLE stream_entries (
    stream        BLOB    NOT NULL,
    position      INTEGER NOT NULL,
    payload       BLOB    NOT NULL,
    size          INTEGER NOT NULL,
    bytes_through INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    tags          TEXT    NOT NULL,
    held          INTEGER NOT NULL,
    PRIMARY KEY (stream, position)
) WITHOUT ROWID, STRICT;

CREATE TABLE stream_groups (
    stream     BLOB    NOT NULL,
    name       TEXT    NOT NULL,
    position   INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (stream, name)
) WITHOUT ROWID, STRICT;

CREATE TABLE stream_producers (
    stream        BLOB    NOT NULL,
    name          TEXT    NOT NULL,
    epoch         INTEGER NOT NULL,
    next_sequence INTEGER NOT NULL,
    batches       BLOB    NOT NULL,
    at            INTEGER NOT NULL,
    PRIMARY KEY (stream, name)
) WITHOUT ROWID, STRICT;
