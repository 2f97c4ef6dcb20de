//! Every statement, so that a test can ask SQLite how it would run each of them.

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* pub(in crate::sqlite) const $name: &str = $text;)*

        #[cfg(test)]
        pub(in crate::sqlite) const ALL: &[(&str, &str)] = &[$((stringify!($name), $name),)*];
    };
}

/// What a listing looks at, each with its size and whether it fits the filter, its labels aside.
macro_rules! candidates {
    (states) => {
        concat!(
            candidates!(state "'ALLOCATED'"), " UNION ALL ", candidates!(state "'ACTIVE'"), " UNION ALL ",
            candidates!(state "'DELETING'"), " UNION ALL ", candidates!(state "'DELETED'"), " UNION ALL ",
            candidates!(state "'ABORTED'"), " UNION ALL ", candidates!(state "'LOST'")
        )
    };
    (labels) => {
        concat!(candidates!(label "0"), " UNION ALL ", candidates!(label "1"))
    };
    (state $state:literal) => {
        concat!(
            candidates!("p.id"), " FROM payloads AS p
            WHERE p.namespace = ?1 AND p.state = ", $state, " AND p.id > ?2 AND p.id < ?3"
        )
    };
    (label $ended:literal) => {
        concat!(
            candidates!("l.payload"), " AND (?12 IS NULL OR p.state = ?12)
            FROM labels AS l CROSS JOIN payloads AS p ON p.id = l.payload
            WHERE l.namespace = ?1 AND l.key = ?13 AND l.value = ?14 AND l.ended = ", $ended,
            " AND l.payload > ?2 AND l.payload < ?3"
        )
    };
    (sizes) => {
        concat!(
            candidates!("p.id"), " FROM payloads AS p
            WHERE p.namespace = ?1 AND p.state = 'ACTIVE' AND (p.size, p.id) > (?12, ?2) AND (p.size, p.id) < (?13, ?3)"
        )
    };
    ($id:literal) => {
        concat!(
            "SELECT ", $id, " AS id, p.size,
                p.size BETWEEN ?5 AND ?6 AND p.created_at BETWEEN ?7 AND ?8
                AND (?9 IS NULL OR coalesce(p.committed_at BETWEEN ?9 AND ?10, 0))
                AND (?11 IS NULL OR EXISTS (SELECT 1 FROM replicas WHERE payload = p.id AND tier = ?11 AND state = 'ready'))"
        )
    };
}

statements! {
    PAYLOAD = "
        SELECT namespace, state, deadline, version, size, digest, tier, durability, owner, created_at, committed_at, ttl_ns,
               priority, spill_to, rederivable, metadata, min_tier, min_residency_ns, write_behind
        FROM payloads WHERE id = ?1";
    VERSION = "SELECT version FROM payloads WHERE id = ?1";
    LABELS = "SELECT key, value FROM labels WHERE payload = ?1 ORDER BY key";
    REPLICAS = "
        SELECT id, node, state, kind, container, start, charged, pinned_until FROM replicas WHERE payload = ?1 ORDER BY id";

    STATE_OLDEST_FIRST = concat!(candidates!(state "?12"), " ORDER BY p.id LIMIT ?4");
    STATE_NEWEST_FIRST = concat!(candidates!(state "?12"), " ORDER BY p.id DESC LIMIT ?4");
    /// Merges the ranges of the six states; each is read only as far as the page needs.
    STATES_OLDEST_FIRST = concat!(candidates!(states), " ORDER BY id LIMIT ?4");
    STATES_NEWEST_FIRST = concat!(candidates!(states), " ORDER BY id DESC LIMIT ?4");
    LABEL_OLDEST_FIRST = concat!(candidates!(label "?15"), " ORDER BY l.payload LIMIT ?4");
    LABEL_NEWEST_FIRST = concat!(candidates!(label "?15"), " ORDER BY l.payload DESC LIMIT ?4");
    /// Merges those that live with those that have ended.
    LABELS_OLDEST_FIRST = concat!(candidates!(labels), " ORDER BY id LIMIT ?4");
    LABELS_NEWEST_FIRST = concat!(candidates!(labels), " ORDER BY id DESC LIMIT ?4");
    SMALLEST_FIRST = concat!(candidates!(sizes), " ORDER BY p.size, p.id LIMIT ?4");
    LARGEST_FIRST = concat!(candidates!(sizes), " ORDER BY p.size DESC, p.id DESC LIMIT ?4");
    COUNT_LABEL = "
        SELECT count(*) FROM (
            SELECT 1 FROM labels WHERE namespace = ?1 AND key = ?2 AND value = ?3 AND ended BETWEEN ?4 AND ?5 LIMIT ?6)";
    COUNT_SIZES = "
        SELECT count(*) FROM (
            SELECT 1 FROM payloads WHERE namespace = ?1 AND state = 'ACTIVE' AND size BETWEEN ?2 AND ?3 LIMIT ?4)";
    HAS_LABEL = "SELECT 1 FROM labels WHERE payload = ?1 AND key = ?2 AND value = ?3";
    RESIDENT = "
        SELECT id FROM payloads WHERE state IN ('ALLOCATED', 'DELETING') AND id > ?2
            AND EXISTS (SELECT 1 FROM replicas WHERE payload = payloads.id AND node = ?1) UNION
        SELECT payload FROM replicas WHERE node = ?1 AND tier = 'ram' AND payload > ?2 UNION
        SELECT payload FROM replicas INDEXED BY replicas_pinned
        WHERE node = ?1 AND pinned_until IS NOT NULL AND payload > ?2 UNION
        SELECT id FROM payloads INDEXED BY payloads_owing
        WHERE write_behind <> durability AND state = 'ACTIVE' AND id > ?2
            AND EXISTS (SELECT 1 FROM replicas WHERE payload = payloads.id AND node = ?1)
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
    IS_PLACE_OF = "
        SELECT EXISTS (SELECT 1 FROM replicas WHERE payload = ?1 AND container = ?2 AND tier = ?3 AND start = ?4)";
    PAYLOADS_IN = "
        SELECT payload, SUM(charged) FROM replicas WHERE container = ?1 AND tier = ?2 AND payload > ?3
        GROUP BY payload ORDER BY payload LIMIT ?4";
    USAGE = "SELECT tier, namespace, replicas, charged FROM usage WHERE node = ?1 AND replicas > 0";
    LOG = "
        SELECT position, payload, version, kind, actor, reason, at, from_state, to_state, body
        FROM events WHERE namespace = ?1 AND position > ?2 ORDER BY position LIMIT ?3";
    LOG_OF_PAYLOAD = "
        SELECT position, payload, version, kind, actor, reason, at, from_state, to_state, body
        FROM events INDEXED BY events_by_payload
        WHERE namespace = ?1 AND position > ?2 AND payload = ?4 ORDER BY position LIMIT ?3";
    /// `length` does not read the bytes of the body.
    METADATA_HISTORY = "
        SELECT revision, version, content_type, length(body), actor, reason, at
        FROM metadata WHERE payload = ?1 AND revision > ?2 ORDER BY revision LIMIT ?3";
    METADATA = "
        SELECT revision, version, content_type, length(body), actor, reason, at, body
        FROM metadata WHERE payload = ?1 AND revision = ?2";
    METADATA_LATEST = "
        SELECT revision, version, content_type, length(body), actor, reason, at, body
        FROM metadata WHERE payload = ?1 ORDER BY revision DESC LIMIT 1";
    INSERT_METADATA = "
        INSERT INTO metadata (payload, revision, version, content_type, actor, reason, at, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    SUPERSEDE_METADATA = "INSERT INTO metadata_superseded (at, payload, revision) VALUES (?1, ?2, ?3)";
    EVENT_BASE = "SELECT version, body FROM event_bases WHERE payload = ?1";
    NEXT_LOG = "SELECT namespace FROM events WHERE namespace > ?1 ORDER BY namespace LIMIT 1";
    MOVE_OVER = "
        INSERT INTO name_moves_over (at, namespace, name, version) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    INSERT_TOMBSTONE = "
        INSERT INTO tombstones (payload, at, parked) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING";
    PUT_EVENT_BASE = "
        INSERT INTO event_bases (payload, version, body) VALUES (?1, ?2, ?3)
        ON CONFLICT (payload) DO UPDATE SET version = excluded.version, body = excluded.body";
    DELETE_EVENTS = "DELETE FROM events WHERE namespace = ?1 AND position <= ?2";
    PUT_LOG_START = "
        INSERT INTO log_starts (namespace, removed_through) VALUES (?1, ?2)
        ON CONFLICT (namespace) DO UPDATE SET removed_through = excluded.removed_through";
    DUE_REVISIONS = "
        SELECT at, payload, revision FROM metadata_superseded WHERE at < ?1 ORDER BY at, payload, revision LIMIT ?2";
    DELETE_REVISIONS = "DELETE FROM metadata WHERE payload = ?1 AND revision <= ?2";
    DELETE_SUPERSEDED = "DELETE FROM metadata_superseded WHERE at = ?1 AND payload = ?2 AND revision = ?3";
    DUE_MOVES = "
        SELECT at, namespace, name, version FROM name_moves_over WHERE at < ?1
        ORDER BY at, namespace, name, version LIMIT ?2";
    DELETE_MOVE = "DELETE FROM name_history WHERE namespace = ?1 AND name = ?2 AND version = ?3";
    DELETE_MOVE_OVER = "DELETE FROM name_moves_over WHERE at = ?1 AND namespace = ?2 AND name = ?3 AND version = ?4";
    DUE_TOMBSTONES = "
        SELECT payload, at FROM tombstones WHERE parked = 0 AND at < ?1 ORDER BY at, payload LIMIT ?2";
    /// Something was made from it, or it still has replicas.
    MUST_STAY = "
        SELECT 1 FROM edges WHERE parent = ?1 UNION ALL SELECT 1 FROM replicas WHERE payload = ?1 LIMIT 1";
    PARK_TOMBSTONE = "UPDATE tombstones SET parked = 1 WHERE payload = ?1";
    UNPARK_TOMBSTONE = "
        UPDATE tombstones SET parked = 0
        WHERE payload = ?1 AND parked = 1 AND NOT EXISTS (SELECT 1 FROM edges WHERE parent = ?1)";
    PARENTS = "SELECT DISTINCT parent FROM edges WHERE child = ?1";
    NAMES_OVER = "
        INSERT INTO name_moves_over (at, namespace, name, version)
        SELECT ?2, namespace, name, version FROM names WHERE payload = ?1 ON CONFLICT DO NOTHING";
    DELETE_NAMES_OF = "DELETE FROM names WHERE payload = ?1";
    DELETE_EDGES_OF = "DELETE FROM edges WHERE child = ?1";
    DELETE_LABELS_OF = "DELETE FROM labels WHERE payload = ?1";
    DELETE_METADATA_OF = "DELETE FROM metadata WHERE payload = ?1";
    DELETE_EVENT_BASE = "DELETE FROM event_bases WHERE payload = ?1";
    DELETE_TOMBSTONE = "DELETE FROM tombstones WHERE payload = ?1";
    DELETE_PAYLOAD = "DELETE FROM payloads WHERE id = ?1";
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
                              created_at, committed_at, ttl_ns, priority, spill_to, rederivable, metadata,
                              min_tier, min_residency_ns, write_behind)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
        ON CONFLICT DO NOTHING";
    /// Leaves out what a payload is for ever.
    UPDATE_PAYLOAD = "
        UPDATE payloads SET state = ?3, deadline = ?4, version = ?5, size = ?6, digest = ?7, tier = ?8, durability = ?9,
                            committed_at = ?10, ttl_ns = ?11, priority = ?12, spill_to = ?13, rederivable = ?14,
                            metadata = ?15, min_tier = ?16, min_residency_ns = ?17,
                            write_behind = ?18
        WHERE id = ?1 AND version = ?2";
    PUT_LABEL = "
        INSERT INTO labels (payload, key, value, namespace, ended) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT DO UPDATE SET value = excluded.value";
    /// When a payload ends. (It never comes back.)
    MOVE_LABELS = "UPDATE labels SET ended = ?2 WHERE payload = ?1";
    DELETE_LABEL = "DELETE FROM labels WHERE payload = ?1 AND key = ?2";
    PUT_REPLICA = "
        INSERT INTO replicas (payload, id, node, state, tier, kind, container, start, charged, pinned_until)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT DO UPDATE SET node = excluded.node, state = excluded.state, tier = excluded.tier,
            kind = excluded.kind, container = excluded.container, start = excluded.start, charged = excluded.charged,
            pinned_until = excluded.pinned_until";
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
        INSERT INTO requests (principal, request_id, fingerprint, operation, payload, version, at, stream, first_position)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING";
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
    MARK = "SELECT catalog, session, applied, random() >> 1 & 0x3fffffffffffffff FROM journal WHERE row = 1";
    BEGIN_SESSION = "UPDATE journal SET session = ?1, applied = ?2 WHERE row = 1";
    END_SESSION = "UPDATE journal SET session = random() >> 1 & 0x3fffffffffffffff WHERE row = 1";
    NOTE_SYNC = "UPDATE journal SET syncs = syncs + 1 WHERE row = 1";
    NOTE_APPLIED = "UPDATE journal SET applied = ?1 WHERE row = 1";
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
        let bounded = |what: &str| what == "CONSTANT ROW" || what.starts_with("(subquery");
        step.strip_prefix("SCAN ").is_some_and(|what| !bounded(what))
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

    fn catalog() -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        let at = Timestamp::from_micros(0);
        migrate::run(&mut conn, Path::new("catalog.db"), migrate::MIGRATIONS, at).unwrap();
        conn
    }

    #[test]
    fn no_statement_scans_or_sorts_a_table() {
        let conn = catalog();
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

    /// Each kind of listing begins with the range of the index that was made for it.
    #[test]
    fn listings_look_where_they_should() {
        let conn = catalog();
        let state = "payloads_by_state (namespace=? AND state=? AND id>? AND id<?)";
        let label = "labels_by_value (namespace=? AND key=? AND value=? AND ended=? AND payload>? AND payload<?)";
        let sizes = "payloads_by_size (namespace=? AND (size,id)>(?,?) AND (size,id)<(?,?))";
        for (sql, range, times) in [
            (super::STATE_OLDEST_FIRST, state, 1),
            (super::STATE_NEWEST_FIRST, state, 1),
            (super::STATES_OLDEST_FIRST, state, 6),
            (super::STATES_NEWEST_FIRST, state, 6),
            (super::LABEL_OLDEST_FIRST, label, 1),
            (super::LABEL_NEWEST_FIRST, label, 1),
            (super::LABELS_OLDEST_FIRST, label, 2),
            (super::LABELS_NEWEST_FIRST, label, 2),
            (super::SMALLEST_FIRST, sizes, 1),
            (super::LARGEST_FIRST, sizes, 1),
            (
                super::COUNT_SIZES,
                "payloads_by_size (namespace=? AND size>? AND size<?)",
                1,
            ),
            (
                super::COUNT_LABEL,
                "labels_by_value (namespace=? AND key=? AND value=? AND ended>? AND ended<?)",
                1,
            ),
        ] {
            let steps = plan(&conn, sql);
            let found = steps.iter().filter(|step| step.ends_with(range)).count();
            assert_eq!(found, times, "{sql}\n{steps:#?}");
        }
    }
}
