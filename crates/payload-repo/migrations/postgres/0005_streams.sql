-- Streams: ordered logs of payload references, with the positions of groups and what is remembered of producers.
--
-- A stream's id is its incarnation. Deleting one takes its name away (ended); its entries follow in small batches.
-- Offsets come from `head`, in the transaction that writes the entries. `trims` says whether something may have to leave.
-- The rows that every append changes leave room in their pages, so that a new version needs no new entry in an index.

CREATE TABLE streams (
    id                uuid             NOT NULL PRIMARY KEY,
    namespace         text COLLATE "C" NOT NULL,
    name              text COLLATE "C" NOT NULL,
    hold              text COLLATE "C" NOT NULL,
    retention_entries bigint,
    retention_age_ns  bigint,
    retention_bytes   bigint,
    batch_max         bigint           NOT NULL,
    version           bigint           NOT NULL,
    created_at        bigint           NOT NULL,
    ended             boolean          NOT NULL,
    trims             boolean          NOT NULL,
    earliest          bigint           NOT NULL,
    head              bigint           NOT NULL,
    last_at           bigint           NOT NULL,
    bytes             bigint           NOT NULL,
    bytes_trimmed     bigint           NOT NULL,
    group_count       bigint           NOT NULL,
    producer_count    bigint           NOT NULL
) WITH (fillfactor = 50);

CREATE UNIQUE INDEX streams_by_name ON streams (namespace, name) WHERE NOT ended;

CREATE INDEX streams_to_trim ON streams (id) WHERE trims;

CREATE TABLE stream_counts (
    namespace text COLLATE "C" NOT NULL PRIMARY KEY,
    streams   bigint           NOT NULL
);

-- Times never go back along a stream, so that an offset is found by time with a few reads and without an index.
CREATE TABLE stream_entries (
    stream        uuid             NOT NULL,
    position      bigint           NOT NULL,
    payload       uuid             NOT NULL,
    size          bigint           NOT NULL,
    bytes_through bigint           NOT NULL,
    at            bigint           NOT NULL,
    tags          text COLLATE "C" NOT NULL,
    held          boolean          NOT NULL,
    PRIMARY KEY (stream, position)
);

CREATE TABLE stream_groups (
    stream     uuid             NOT NULL,
    name       text COLLATE "C" NOT NULL,
    position   bigint           NOT NULL,
    generation bigint           NOT NULL,
    at         bigint           NOT NULL,
    PRIMARY KEY (stream, name)
) WITH (fillfactor = 50);

CREATE TABLE stream_producers (
    stream        uuid             NOT NULL,
    name          text COLLATE "C" NOT NULL,
    epoch         bigint           NOT NULL,
    next_sequence bigint           NOT NULL,
    batches       bytea            NOT NULL,
    at            bigint           NOT NULL,
    PRIMARY KEY (stream, name)
) WITH (fillfactor = 50);
