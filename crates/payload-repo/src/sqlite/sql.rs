//! Every statement, so that a test can ask SQLite how it would run each of them.

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* pub(in crate::sqlite) const $name: &str = $text;)*

        #[cfg(test)]
        pub(in crate::sqlite) const ALL: &[(&str, &str)] = &[$((stringify!($name), $name),)*];
    };
}

statements! {
    PAYLOAD = "
        SELECT namespace, state, deadline, version, size, digest, tier, durability, owner, created_at, committed_at, ttl_ns,
               priority, spill_to, rederivable
        FROM payloads WHERE id = ?1";
    LABELS = "SELECT key, value FROM labels WHERE payload = ?1 ORDER BY key";
    REPLICAS = "
        SELECT id, node, state, kind, container, start, charged FROM replicas WHERE payload = ?1 ORDER BY id";

    LIST_STATE = "
        SELECT id FROM payloads WHERE namespace = ?1 AND state = ?2 AND id > ?3 ORDER BY id LIMIT ?4";
    /// Merges the ranges of the six states; each is read only as far as the page needs.
    LIST = "
        SELECT id FROM payloads WHERE namespace = ?1 AND state = 'ALLOCATED' AND id > ?2 UNION ALL
        SELECT id FROM payloads WHERE namespace = ?1 AND state = 'ACTIVE' AND id > ?2 UNION ALL
        SELECT id FROM payloads WHERE namespace = ?1 AND state = 'DELETING' AND id > ?2 UNION ALL
        SELECT id FROM payloads WHERE namespace = ?1 AND state = 'DELETED' AND id > ?2 UNION ALL
        SELECT id FROM payloads WHERE namespace = ?1 AND state = 'ABORTED' AND id > ?2 UNION ALL
        SELECT id FROM payloads WHERE namespace = ?1 AND state = 'LOST' AND id > ?2
        ORDER BY id LIMIT ?3";
    RESIDENT = "
        SELECT id FROM payloads WHERE state IN ('ALLOCATED', 'DELETING') AND id > ?2
            AND EXISTS (SELECT 1 FROM replicas WHERE payload = payloads.id AND node = ?1) UNION
        SELECT payload FROM replicas WHERE node = ?1 AND tier = 'ram' AND payload > ?2
        ORDER BY 1 LIMIT ?3";
    DELETIONS = "
        SELECT id FROM payloads INDEXED BY payloads_unsettled
        WHERE state IN ('ALLOCATED', 'DELETING') AND state = 'DELETING' AND id > ?2
            AND EXISTS (SELECT 1 FROM replicas WHERE payload = payloads.id AND node = ?1)
        ORDER BY id LIMIT ?3";
    DUE = "
        SELECT id FROM payloads WHERE deadline <= ?2 AND holds = 0 AND (state = 'ACTIVE'
            OR EXISTS (SELECT 1 FROM replicas WHERE payload = payloads.id AND node = ?1))
        ORDER BY deadline, id LIMIT ?3";
    NEXT_DEADLINE = "
        SELECT deadline FROM payloads WHERE deadline >= ?2 AND holds = 0 AND (state = 'ACTIVE'
            OR EXISTS (SELECT 1 FROM replicas WHERE payload = payloads.id AND node = ?1))
        ORDER BY deadline LIMIT 1";
    CONTAINER_IN_USE = "SELECT EXISTS (SELECT 1 FROM replicas WHERE container = ?1 AND tier = ?2)";
    USAGE = "SELECT tier, namespace, replicas, charged FROM usage WHERE node = ?1 AND replicas > 0";
    LOG = "
        SELECT position, payload, version, kind, actor, reason, at, from_state, to_state, body
        FROM events WHERE namespace = ?1 AND position > ?2 ORDER BY position LIMIT ?3";
    LOG_OF_PAYLOAD = "
        SELECT position, payload, version, kind, actor, reason, at, from_state, to_state, body
        FROM events INDEXED BY events_by_payload
        WHERE namespace = ?1 AND position > ?2 AND payload = ?4 ORDER BY position LIMIT ?3";
    LOG_START = "SELECT removed_through FROM log_starts WHERE namespace = ?1";
    LOG_END = "SELECT max(position) FROM events WHERE namespace = ?1";
    REQUEST = "
        SELECT fingerprint, operation, payload, version, at, stream, first_position
        FROM requests WHERE principal = ?1 AND request_id = ?2";

    LINKS_UP = "
        SELECT parent, number FROM edges WHERE child = ?1 ORDER BY parent, operation, role LIMIT ?2";
    LINKS_DOWN = "
        SELECT child, number FROM edges WHERE parent = ?1 ORDER BY child, operation, role LIMIT ?2";
    EDGE = "SELECT child, parent, operation, role, parameters, actor, at FROM edges WHERE number = ?1";
    EDGE_NUMBER = "SELECT number FROM edges WHERE child = ?1 AND parent = ?2 AND operation = ?3 AND role = ?4";
    EDGE_END = "SELECT namespace, state FROM payloads WHERE id = ?1";
    NODE = "SELECT state, size FROM payloads WHERE id = ?1";

    INSERT_PAYLOAD = "
        INSERT INTO payloads (id, namespace, state, deadline, version, size, digest, tier, durability, owner,
                              created_at, committed_at, ttl_ns, priority, spill_to, rederivable)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) ON CONFLICT DO NOTHING";
    /// Leaves out what a payload is for ever.
    UPDATE_PAYLOAD = "
        UPDATE payloads SET state = ?3, deadline = ?4, version = ?5, size = ?6, digest = ?7, tier = ?8, durability = ?9,
                            committed_at = ?10, ttl_ns = ?11, priority = ?12, spill_to = ?13, rederivable = ?14
        WHERE id = ?1 AND version = ?2";
    PUT_LABEL = "
        INSERT INTO labels (payload, key, value) VALUES (?1, ?2, ?3)
        ON CONFLICT DO UPDATE SET value = excluded.value";
    DELETE_LABEL = "DELETE FROM labels WHERE payload = ?1 AND key = ?2";
    PUT_REPLICA = "
        INSERT INTO replicas (payload, id, node, state, tier, kind, container, start, charged)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT DO UPDATE SET node = excluded.node, state = excluded.state, tier = excluded.tier,
            kind = excluded.kind, container = excluded.container, start = excluded.start, charged = excluded.charged";
    DELETE_REPLICA = "DELETE FROM replicas WHERE payload = ?1 AND id = ?2";
    ADD_USAGE = "
        INSERT INTO usage (node, tier, namespace, replicas, charged) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT DO UPDATE SET replicas = replicas + excluded.replicas, charged = charged + excluded.charged";
    INSERT_EVENT = "
        INSERT INTO events (namespace, position, payload, version, kind, actor, reason, at, from_state, to_state, body)
        VALUES (?1, 1 + coalesce((SELECT max(position) FROM events WHERE namespace = ?1),
                                 (SELECT removed_through FROM log_starts WHERE namespace = ?1), 0),
                ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    INSERT_EDGE = "
        INSERT INTO edges (child, parent, operation, role, parameters, actor, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    INSERT_REQUEST = "
        INSERT INTO requests (principal, request_id, fingerprint, operation, payload, version, at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
    FORGET_REQUESTS = "
        DELETE FROM requests WHERE (principal, request_id) IN
            (SELECT principal, request_id FROM requests WHERE at < ?1 ORDER BY at, principal, request_id LIMIT ?2)";

    NAMESPACE = "
        SELECT name, version, quota_bytes, quota_payloads, created_at, created_by FROM namespaces WHERE name = ?1";
    NAMESPACES = "
        SELECT name, version, quota_bytes, quota_payloads, created_at, created_by
        FROM namespaces WHERE name > ?1 ORDER BY name LIMIT ?2";
    NAMESPACE_EXISTS = "SELECT 1 FROM namespaces WHERE name = ?1";
    NAMESPACE_IN_USE = "
        SELECT EXISTS (SELECT 1 FROM payloads WHERE namespace = ?1 AND state IN ('ALLOCATED', 'ACTIVE', 'DELETING'))
            OR EXISTS (SELECT 1 FROM stream_counts WHERE namespace = ?1 AND streams > 0)";
    INSERT_NAMESPACE = "
        INSERT INTO namespaces (name, version, quota_bytes, quota_payloads, created_at, created_by)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
    UPDATE_NAMESPACE = "
        UPDATE namespaces SET version = ?2, quota_bytes = ?3, quota_payloads = ?4
        WHERE name = ?1 AND version = ?2 - 1";
    DELETE_NAMESPACE = "DELETE FROM namespaces WHERE name = ?1 AND version = ?2";

    NAMESPACE_QUOTA = "
        SELECT quota_bytes, quota_payloads FROM namespaces
        WHERE name = ?1 AND (quota_bytes IS NOT NULL OR quota_payloads IS NOT NULL)";
    NAMESPACE_USE = "SELECT payloads, bytes FROM namespace_use WHERE namespace = ?1";
    ADD_NAMESPACE_USE = "
        INSERT INTO namespace_use (namespace, payloads, bytes) VALUES (?1, ?2, ?3)
        ON CONFLICT DO UPDATE SET payloads = payloads + excluded.payloads, bytes = bytes + excluded.bytes";

    NAME = "SELECT payload, name, version, actor, at FROM names WHERE namespace = ?1 AND name = ?2";
    NAMES = "
        SELECT payload, name, version, actor, at FROM names
        WHERE namespace = ?1 AND name >= ?2 AND name < ?3 ORDER BY name LIMIT ?4";
    NAMES_OF = "SELECT name FROM names WHERE payload = ?1 ORDER BY name";
    NAME_TARGET = "
        SELECT names.payload, payloads.state FROM names JOIN payloads ON payloads.id = names.payload
        WHERE names.namespace = ?1 AND names.name = ?2";
    NAMEABLE = "SELECT state FROM payloads WHERE id = ?1 AND namespace = ?2";
    NAME_LAST_MOVE = "
        SELECT version FROM name_history WHERE namespace = ?1 AND name = ?2 ORDER BY version DESC LIMIT 1";
    NAME_HISTORY = "
        SELECT version, from_payload, to_payload, actor, reason, at FROM name_history
        WHERE namespace = ?1 AND name = ?2 AND version < ?3 ORDER BY version DESC LIMIT ?4";
    PUT_NAME = "
        INSERT INTO names (namespace, name, payload, version, actor, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT DO UPDATE SET payload = excluded.payload, version = excluded.version, actor = excluded.actor,
            at = excluded.at";
    DELETE_NAME = "DELETE FROM names WHERE namespace = ?1 AND name = ?2";
    INSERT_NAME_MOVE = "
        INSERT INTO name_history (namespace, name, version, from_payload, to_payload, actor, reason, at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

    CLAIM = "
        INSERT INTO nodes (node, epoch, claimed_at) VALUES (?1, 1, ?2)
        ON CONFLICT DO UPDATE SET epoch = epoch + 1, claimed_at = excluded.claimed_at RETURNING epoch";
    EPOCH = "SELECT epoch FROM nodes WHERE node = ?1";
    PROVE_WRITABLE = "UPDATE nodes SET checked_at = ?2 WHERE node = ?1";
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use payload_core::Timestamp;
    use rusqlite::Connection;

    use super::super::migrate;

    /// A scan of a constant row or of a temporary result is none of a table.
    fn scans_a_table(step: &str) -> bool {
        step.strip_prefix("SCAN ").is_some_and(|what| what != "CONSTANT ROW")
    }

    fn plan(conn: &Connection, sql: &str) -> Vec<String> {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = statement.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get(3).unwrap());
        }
        steps
    }

    #[test]
    fn no_statement_scans_or_sorts_a_table() {
        let mut conn = Connection::open_in_memory().unwrap();
        let at = Timestamp::from_micros(0);
        migrate::run(&mut conn, Path::new("catalog.db"), migrate::MIGRATIONS, at).unwrap();
        for (name, sql) in super::ALL.iter().chain(super::super::streams::sql::ALL) {
            for step in plan(&conn, sql) {
                assert!(!scans_a_table(&step), "{name}: {step}");
                assert!(!step.contains("TEMP B-TREE"), "{name}: {step}");
            }
        }
        assert!(
            plan(&conn, "SELECT * FROM payloads WHERE size = 7")
                .iter()
                .any(|step| scans_a_table(step))
        );
    }
}
