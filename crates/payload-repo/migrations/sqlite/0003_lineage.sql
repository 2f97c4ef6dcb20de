-- What payloads were made from. Edges are only ever added, and both ends are payloads of one namespace.

CREATE TABLE edges (
    number     INTEGER NOT NULL PRIMARY KEY,
    child      BLOB    NOT NULL,
    parent     BLOB    NOT NULL,
    operation  TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    parameters BLOB    NOT NULL,
    actor      TEXT    NOT NULL,
    at         INTEGER NOT NULL
) STRICT;

-- One for each direction, in the order in which a page shows edges: walking needs nothing but the index.
CREATE UNIQUE INDEX edges_by_child ON edges (child, parent, operation, role);
CREATE UNIQUE INDEX edges_by_parent ON edges (parent, child, operation, role);
