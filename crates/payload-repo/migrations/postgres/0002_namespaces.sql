-- Namespaces as data: payloads are made in those that are here, and only there.

CREATE TABLE namespaces (
    name           text COLLATE "C" NOT NULL PRIMARY KEY,
    version        bigint           NOT NULL,
    quota_bytes    bigint,
    quota_payloads bigint,
    created_at     bigint           NOT NULL,
    created_by     text COLLATE "C" NOT NULL
);

-- The one that is always there is as old as the catalog, and so are those that were used before they had rows.
INSERT INTO namespaces (name, version, created_at, created_by)
SELECT used.name, 1, migrations.applied_at, 'server:catalog'
FROM (SELECT 'default' AS name UNION SELECT namespace FROM payloads) AS used, migrations
WHERE migrations.number = 1;
