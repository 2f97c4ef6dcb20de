-- What each namespace takes up, for its quota: payloads that have not ended, and the bytes that their replicas are charged for,
-- with the durable copies that were promised to open allocations. Kept by the transactions that change them.

CREATE TABLE namespace_use (
    namespace TEXT    NOT NULL PRIMARY KEY,
    payloads  INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

INSERT INTO namespace_use (namespace, payloads, bytes)
SELECT namespace, count(*), sum(
    coalesce((SELECT sum(charged) FROM replicas WHERE payload = payloads.id), 0)
    + CASE WHEN state = 'ALLOCATED' AND tier = 'ram' AND durability = 'host' THEN size ELSE 0 END)
FROM payloads WHERE state IN ('ALLOCATED', 'ACTIVE', 'DELETING') GROUP BY namespace;
