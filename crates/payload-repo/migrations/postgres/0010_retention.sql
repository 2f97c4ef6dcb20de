-- What is kept for a time only, and from when that counts.

-- When a move of a name was over: a later one took its place, or the name is gone. Not a column of `name_history`, which is
-- in the order of names.
CREATE TABLE name_moves_over (
    at        bigint           NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    name      text COLLATE "C" NOT NULL,
    version   bigint           NOT NULL,
    PRIMARY KEY (at, namespace, name, version)
);

-- Payloads that have ended, and when. One that something was made from is parked until that is gone.
CREATE TABLE tombstones (
    payload uuid    NOT NULL PRIMARY KEY,
    at      bigint  NOT NULL,
    parked  boolean NOT NULL
);

CREATE INDEX tombstones_due ON tombstones (at, payload) WHERE NOT parked;

-- What the removed events of a payload add up to, written like an event that makes all of it.
CREATE TABLE event_bases (
    payload uuid   NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    body    bytea  NOT NULL
);
