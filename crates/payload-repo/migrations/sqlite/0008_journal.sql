-- How much of the journal of commits the tables hold. The file beside the catalog carries the same `catalog`, so that
-- the journal of another catalog is never taken for this one's. Each opening is a session: what an earlier one wrote to
-- the file is in the tables before the next begins.

CREATE TABLE journal (
    row     INTEGER NOT NULL PRIMARY KEY CHECK (row = 1),
    catalog BLOB    NOT NULL,
    session INTEGER NOT NULL,
    applied INTEGER NOT NULL,
    syncs   INTEGER NOT NULL
) STRICT;

INSERT INTO journal (row, catalog, session, applied, syncs) VALUES (1, randomblob(16), 0, 0, 0);
