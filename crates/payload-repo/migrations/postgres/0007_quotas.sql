-- What each namespace takes up, for its quota: payloads that have not ended, and the bytes that their replicas are charged for,
-- with the durable copies that were promised to open allocations. Kept by the transactions that change them, and by node, so
-- that servers do not queue for one row: what one node adds another may take away, and only the sum has a meaning.

CREATE TABLE namespace_use (
    namespace text COLLATE "C" NOT NULL,
    node      uuid             NOT NULL,
    payloads  bigint           NOT NULL,
    bytes     bigint           NOT NULL,
    PRIMARY KEY (namespace, node)
) WITH (fillfactor = 20);

INSERT INTO namespace_use (namespace, node, payloads, bytes)
SELECT namespace, '00000000-0000-0000-0000-000000000000', count(*), sum(
    coalesce((SELECT sum(charged) FROM replicas WHERE payload = payloads.id), 0)
    + CASE WHEN state = 'ALLOCATED' AND tier = 'ram' AND durability = 'host' THEN size ELSE 0 END)
FROM payloads WHERE state IN ('ALLOCATED', 'ACTIVE', 'DELETING') GROUP BY namespace;
