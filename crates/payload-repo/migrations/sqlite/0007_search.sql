-- Payloads are found by their labels and in order of their sizes. Only those with labels pay for the one, and only
-- those that are active for the other.

-- Each label says too whose it is and whether its payload has ended: an index has its columns from one table.
CREATE TABLE new_labels (
    payload   BLOB    NOT NULL,
    key       TEXT    NOT NULL,
    value     TEXT    NOT NULL,
    namespace TEXT    NOT NULL,
    ended     INTEGER NOT NULL,
    PRIMARY KEY (payload, key)
) WITHOUT ROWID, STRICT;

INSERT INTO new_labels (payload, key, value, namespace, ended)
SELECT l.payload, l.key, l.value, p.namespace, p.state IN ('DELETED', 'ABORTED', 'LOST')
FROM labels AS l CROSS JOIN payloads AS p ON p.id = l.payload;

DROP TABLE labels;
ALTER TABLE new_labels RENAME TO labels;

-- Tombstones apart, because they may be many more than those that are looked for.
CREATE INDEX labels_by_value ON labels (namespace, key, value, ended, payload);

CREATE INDEX payloads_by_size ON payloads (namespace, size, id) WHERE state = 'ACTIVE';
