-- Metadata: every revision that was put. `payloads.metadata` says which is the latest.

CREATE TABLE metadata (
    payload      uuid             NOT NULL,
    revision     bigint           NOT NULL,
    version      bigint           NOT NULL,
    content_type text COLLATE "C" NOT NULL,
    actor        text COLLATE "C" NOT NULL,
    reason       bytea,
    at           bigint           NOT NULL,
    body         bytea            NOT NULL,
    PRIMARY KEY (payload, revision)
);

-- When a revision ceased to be the latest. Not a column of `metadata`: setting it would write the old row again.
CREATE TABLE metadata_superseded (
    at       bigint NOT NULL,
    payload  uuid   NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (at, payload, revision)
);
