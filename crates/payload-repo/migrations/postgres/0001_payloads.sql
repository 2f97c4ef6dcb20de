-- The catalog: payloads with their labels, replicas and events, the requests that made them, and who may write.
--
-- Ids are uuids, which compare byte by byte; enums are the words of the API, times are microseconds since 1970 (UTC).
-- Text compares byte by byte too (COLLATE "C"), whatever the database's own collation is. What clients may write freely
-- is bytea, because text cannot hold every character. No foreign keys: a row is always written, and removed,
-- together with its payload.

-- Each batch of change sets leaves its number here: so a batch waits for the one before, a claim waits for the batch at
-- work, and whoever lost the reply to a COMMIT finds out what became of it.
CREATE TABLE nodes (
    node       uuid   NOT NULL PRIMARY KEY,
    epoch      bigint NOT NULL,
    batch      bigint NOT NULL DEFAULT 0,
    claimed_at bigint NOT NULL,
    checked_at bigint
) WITH (fillfactor = 20);

CREATE TABLE payloads (
    id           uuid             NOT NULL PRIMARY KEY,
    namespace    text COLLATE "C" NOT NULL,
    state        text COLLATE "C" NOT NULL,
    deadline     bigint,
    version      bigint           NOT NULL,
    size         bigint           NOT NULL,
    digest       bytea,
    tier         text COLLATE "C" NOT NULL,
    durability   text COLLATE "C" NOT NULL,
    priority     text COLLATE "C" NOT NULL,
    spill_to     text COLLATE "C" NOT NULL,
    rederivable  boolean          NOT NULL,
    owner        text COLLATE "C" NOT NULL,
    created_at   bigint           NOT NULL,
    committed_at bigint,
    ttl_ns       bigint,
    metadata     bigint,
    holds        bigint           NOT NULL DEFAULT 0
);

-- Listings: of one state by its range, of all states by merging their ranges.
CREATE INDEX payloads_by_state ON payloads (namespace, state, id);

-- What the server has to do on its own, and when. Tombstones, payloads that live for ever, and those that entries of
-- streams hold (so many entries are in `holds`) are not in it.
CREATE INDEX payloads_by_deadline ON payloads (deadline, id) WHERE deadline IS NOT NULL AND holds = 0;

-- What a starting server has to take care of.
CREATE INDEX payloads_unsettled ON payloads (id) WHERE state IN ('ALLOCATED', 'DELETING');

CREATE TABLE labels (
    payload uuid             NOT NULL,
    key     text COLLATE "C" NOT NULL,
    value   bytea            NOT NULL,
    PRIMARY KEY (payload, key)
);

-- The kind of a location (segment, slab, stage, file, pack) says its tier too; the tier is spelled out for the indexes.
CREATE TABLE replicas (
    payload   uuid             NOT NULL,
    id        uuid             NOT NULL,
    node      uuid             NOT NULL,
    state     text COLLATE "C" NOT NULL,
    tier      text COLLATE "C" NOT NULL,
    kind      text COLLATE "C" NOT NULL,
    container uuid             NOT NULL,
    start     bigint           NOT NULL,
    charged   bigint           NOT NULL,
    PRIMARY KEY (payload, id)
);

-- Whether a memfd or a file is still needed.
CREATE INDEX replicas_by_container ON replicas (container, tier);

-- What a node has in memory. Replicas on disk need no such index: nothing asks for all of them.
CREATE INDEX replicas_in_ram ON replicas (node, payload) WHERE tier = 'ram';

-- Each namespace's log, in the order of transactions: no counter that all writers would queue for. Readers look only at
-- transactions before the oldest that is still at work, so nothing appears behind them. `log_starts` says up to where
-- events were removed. `body` is what changed, in a form that nobody queries.
CREATE TABLE events (
    namespace   text COLLATE "C" NOT NULL,
    transaction bigint           NOT NULL,
    number      bigint           NOT NULL,
    payload     uuid             NOT NULL,
    version     bigint           NOT NULL,
    kind        text COLLATE "C" NOT NULL,
    actor       text COLLATE "C" NOT NULL,
    reason      bytea,
    at          bigint           NOT NULL,
    from_state  text COLLATE "C",
    to_state    text COLLATE "C" NOT NULL,
    body        bytea            NOT NULL,
    PRIMARY KEY (namespace, transaction, number)
);

CREATE UNIQUE INDEX events_by_payload ON events (payload, transaction, number);

CREATE TABLE log_starts (
    namespace   text COLLATE "C" NOT NULL PRIMARY KEY,
    transaction bigint           NOT NULL,
    number      bigint           NOT NULL
);

CREATE TABLE requests (
    principal   text COLLATE "C" NOT NULL,
    request_id  text COLLATE "C" NOT NULL,
    fingerprint bytea            NOT NULL,
    operation   text COLLATE "C" NOT NULL,
    payload     uuid             NOT NULL,
    version     bigint           NOT NULL,
    at          bigint           NOT NULL,
    -- Where the entries are that the request appended: incarnation and first offset.
    stream         uuid,
    first_position bigint,
    PRIMARY KEY (principal, request_id)
);

CREATE INDEX requests_by_time ON requests (at, principal, request_id);

-- The sums over replicas, kept up to date by the transactions that change them. Few rows, changed by every batch: room
-- is left in the page, so that a new version of a row needs no new entry in the index.
CREATE TABLE usage (
    node      uuid             NOT NULL,
    tier      text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    replicas  bigint           NOT NULL,
    charged   bigint           NOT NULL,
    PRIMARY KEY (node, tier, namespace)
) WITH (fillfactor = 20);
