-- Names of payloads: where each points, and where it has pointed. Only payloads that are named pay for them.

CREATE TABLE names (
    namespace text COLLATE "C" NOT NULL,
    name      text COLLATE "C" NOT NULL,
    payload   uuid             NOT NULL,
    version   bigint           NOT NULL,
    actor     text COLLATE "C" NOT NULL,
    at        bigint           NOT NULL,
    PRIMARY KEY (namespace, name)
);

-- The names of one payload.
CREATE INDEX names_by_payload ON names (payload, name);

-- Goes on counting where it was when a name that was taken away is given again.
CREATE TABLE name_history (
    namespace    text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    version      bigint           NOT NULL,
    from_payload uuid,
    to_payload   uuid,
    actor        text COLLATE "C" NOT NULL,
    reason       bytea,
    at           bigint           NOT NULL,
    PRIMARY KEY (namespace, name, version)
);
