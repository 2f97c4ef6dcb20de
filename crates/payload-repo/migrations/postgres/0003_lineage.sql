-- What payloads were made from. Edges are only ever added, and both ends are payloads of one namespace.

CREATE TABLE edges (
    number     bigint           NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    child      uuid             NOT NULL,
    parent     uuid             NOT NULL,
    operation  text COLLATE "C" NOT NULL,
    role       text COLLATE "C" NOT NULL,
    parameters bytea            NOT NULL,
    actor      text COLLATE "C" NOT NULL,
    at         bigint           NOT NULL
);

-- One for each direction, in the order in which a page shows edges: walking needs nothing but the index.
CREATE UNIQUE INDEX edges_by_child ON edges (child, parent, operation, role) INCLUDE (number);
CREATE UNIQUE INDEX edges_by_parent ON edges (parent, child, operation, role) INCLUDE (number);
