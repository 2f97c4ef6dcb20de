-- Payloads are found by their labels and in order of their sizes. Only those with labels pay for the one, and only
-- those that are active for the other.

-- Each label says too whose it is and whether its payload has ended: an index has its columns from one table.
ALTER TABLE labels ADD COLUMN namespace text COLLATE "C", ADD COLUMN ended boolean;

UPDATE labels AS l SET namespace = p.namespace, ended = p.state IN ('DELETED', 'ABORTED', 'LOST')
FROM payloads AS p WHERE p.id = l.payload;

ALTER TABLE labels ALTER COLUMN namespace SET NOT NULL, ALTER COLUMN ended SET NOT NULL;

-- Tombstones apart, because they may be many more than those that are looked for.
CREATE INDEX labels_by_value ON labels (namespace, key, value, ended, payload);

CREATE INDEX payloads_by_size ON payloads (namespace, size, id) WHERE state = 'ACTIVE';
