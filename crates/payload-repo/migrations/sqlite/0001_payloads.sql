-- The catalog: payloads with their labels, replicas and events, the requests that made them, and who may write.
--
-- Ids are 16-byte BLOBs, enums are the words of the API, times are microseconds since 1970 (UTC). Rows are small and
-- found by keys that mostly grow, so every table is clustered by its key (WITHOUT ROWID): one B-tree less to write.
-- No foreign keys: a row is always written, and removed, together with its payload.

CREATE TABLE nodes (
    node       BLOB    NOT NULL PRIMARY KEY,
    epoch      INTEGER NOT NULL,
    claimed_at INTEGER NOT NULL,
    checked_at INTEGER
) WITHOUT ROWID, STRICT;

CREATE TABLE payloads (
    id           BLOB    NOT NULL PRIMARY KEY,
    namespace    TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    deadline     INTEGER,
    version      INTEGER NOT NULL,
    size         INTEGER NOT NULL,
    digest       BLOB,
    tier         TEXT    NOT NULL,
    durability   TEXT    NOT NULL,
    priority     TEXT    NOT NULL,
    spill_to     TEXT    NOT NULL,
    rederivable  INTEGER NOT NULL,
    owner        TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    committed_at INTEGER,
    ttl_ns       INTEGER,
    metadata     INTEGER,
    holds        INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID, STRICT;

-- Listings: of one state by its range, of all states by merging their ranges.
CREATE INDEX payloads_by_state ON payloads (namespace, state, id);

-- What the server has to do on its own, and when. Tombstones, payloads that live for ever, and those that entries of
-- streams hold (so many entries are in `holds`) are not in it.
CREATE INDEX payloads_by_deadline ON payloads (deadline, id) WHERE deadline IS NOT NULL AND holds = 0;

-- What a starting server has to take care of.
CREATE INDEX payloads_unsettled ON payloads (id) WHERE state IN ('ALLOCATED', 'DELETING');

CREATE TABLE labels (
    payload BLOB NOT NULL,
    key     TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (payload, key)
) WITHOUT ROWID, STRICT;

-- The kind of a location (segment, slab, stage, file, pack) says its tier too; the tier is spelled out for the indexes.
CREATE TABLE replicas (
    payload   BLOB    NOT NULL,
    id        BLOB    NOT NULL,
    node      BLOB    NOT NULL,
    state     TEXT    NOT NULL,
    tier      TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    container BLOB    NOT NULL,
    start     INTEGER NOT NULL,
    charged   INTEGER NOT NULL,
    PRIMARY KEY (payload, id)
) WITHOUT ROWID, STRICT;

-- Whether a memfd or a file is still needed.
CREATE INDEX replicas_by_container ON replicas (container, tier);

-- What a node has in memory. Replicas on disk need no such index: nothing asks for all of them.
CREATE INDEX replicas_in_ram ON replicas (node, payload) WHERE tier = 'ram';

-- Each namespace's log. The one writer numbers its events without gaps and never uses a number twice; `log_starts` has
-- the last number that was removed. `body` is what changed, in a form that nobody queries.
CREATE TABLE events (
    namespace  TEXT    NOT NULL,
    position   INTEGER NOT NULL,
    payload    BLOB    NOT NULL,
    version    INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    reason     TEXT,
    at         INTEGER NOT NULL,
    from_state TEXT,
    to_state   TEXT    NOT NULL,
    body       BLOB    NOT NULL,
    PRIMARY KEY (namespace, position)
) WITHOUT ROWID, STRICT;

CREATE UNIQUE INDEX events_by_payload ON events (payload, position);

CREATE TABLE log_starts (
    namespace       TEXT    NOT NULL PRIMARY KEY,
    removed_through INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE requests (
    principal   TEXT    NOT NULL,
    request_id  TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    operation   TEXT    NOT NULL,
    payload     BLOB    NOT NULL,
    version     INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    -- Where the entries are that the request appended: incarnation and first offset.
    stream         BLOB,
    first_position INTEGER,
    PRIMARY KEY (principal, request_id)
) WITHOUT ROWID, STRICT;

CREATE INDEX requests_by_time ON requests (at);

-- The sums over replicas, kept up to date by the transactions that change them.
CREATE TABLE usage (
    node      BLOB    NOT NULL,
    tier      TEXT    NOT NULL,
    namespace TEXT    NOT NULL,
    replicas  INTEGER NOT NULL,
    charged   INTEGER NOT NULL,
    PRIMARY KEY (node, tier, namespace)
) WITHOUT ROWID, STRICT;
