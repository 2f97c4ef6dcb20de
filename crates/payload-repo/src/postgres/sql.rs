//! Every statement, so that a test can ask PostgreSQL how it would run each of them.

macro_rules! statements {
    ($all:ident: $($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* pub(in crate::postgres) const $name: &str = $text;)*

        /// Their names and texts.
        pub(in crate::postgres) const $all: &[(&str, &str)] = &[$((stringify!($name), $name),)*];
    };
}

/// Payloads whole, in one snapshot: the rows with what hangs on them folded into arrays.
macro_rules! payloads {
    ($($text:literal)+) => {
        concat!(
            "SELECT p.id, p.namespace, p.state, p.deadline, p.version, p.size, p.digest, p.tier, p.durability, p.owner,
                    p.created_at, p.committed_at, p.ttl_ns, p.priority, p.spill_to, p.rederivable, p.metadata,
                    p.min_tier, p.min_residency_ns, p.write_behind, l.keys, l.values,
                    r.ids, r.nodes, r.states, r.kinds, r.containers, r.starts, r.charged, r.pins ",
            $($text,)+
            " CROSS JOIN LATERAL (
                SELECT array_agg(key) AS keys, array_agg(value) AS values
                FROM (SELECT key, value FROM labels WHERE payload = p.id ORDER BY key) AS label
            ) AS l CROSS JOIN LATERAL (
                SELECT array_agg(id) AS ids, array_agg(node) AS nodes, array_agg(state) AS states,
                       array_agg(kind) AS kinds, array_agg(container) AS containers, array_agg(start) AS starts,
                       array_agg(charged) AS charged, array_agg(pinned_until) AS pins
                FROM (SELECT id, node, state, kind, container, start, charged, pinned_until
                      FROM replicas WHERE payload = p.id ORDER BY id) AS replica
            ) AS r ORDER BY p.id"
        )
    };
}

// What readers ask, and the writer too.
statements! { SHARED:
    /// Node after node, so that the walk can stop in the middle of many.
    LINKS_UP = "
        SELECT asked.id AS near, e.parent AS far, e.number
        FROM (SELECT id, place FROM unnest($1::uuid[]) WITH ORDINALITY AS a (id, place) ORDER BY place) AS asked
        CROSS JOIN LATERAL (
            SELECT parent, operation, role, number FROM edges WHERE child = asked.id
            ORDER BY parent, operation, role LIMIT $2
        ) AS e ORDER BY asked.place, e.parent, e.operation, e.role LIMIT $2";
    LINKS_DOWN = "
        SELECT asked.id AS near, e.child AS far, e.number
        FROM (SELECT id, place FROM unnest($1::uuid[]) WITH ORDINALITY AS a (id, place) ORDER BY place) AS asked
        CROSS JOIN LATERAL (
            SELECT child, operation, role, number FROM edges WHERE parent = asked.id
            ORDER BY child, operation, role LIMIT $2
        ) AS e ORDER BY asked.place, e.child, e.operation, e.role LIMIT $2";
    /// The last transaction before the oldest that is still at work, and up to where the log was removed.
    LOG_BOUNDS = "
        SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1 AS last, s.transaction, s.number
        FROM (VALUES (1)) AS one (row) LEFT JOIN log_starts AS s ON s.namespace = $1";
    /// Bodies come of the kinds that are asked for, which are all if none is named.
    LOG = "
        SELECT transaction, number, payload, version, kind, actor, reason, at, from_state, to_state,
               CASE WHEN cardinality($5::text[]) = 0 OR kind = ANY ($5) THEN body END AS body
        FROM events WHERE namespace = $1 AND (transaction, number) > ($2, $3) AND transaction <= $4
        ORDER BY transaction, number LIMIT $6";
    EVENT_BASES = "SELECT payload AS id, version, body FROM event_bases WHERE payload = ANY ($1::uuid[])";
    /// By the ids: the state alone would lead through all that are active (OFFSET keeps the two conditions apart).
    LIVE = "
        SELECT p.id FROM unnest($1::uuid[]) AS asked (id)
        CROSS JOIN LATERAL (SELECT id, state FROM payloads WHERE id = asked.id OFFSET 0) AS p
        WHERE p.state = 'ACTIVE' ORDER BY p.id LIMIT 1";
}

/// What a listing looks at, each with its size and whether it fits the filter. What is asked of other tables is asked as
/// a scalar: a plan that reads all of such a table is then none. The ends of a range are compared with all columns of
/// the index, so that no other index with the same order will do.
macro_rules! candidates {
    (states $order:literal) => {
        concat!(
            "(", candidates!(state "$14" $order), ") UNION ALL (", candidates!(state "$15" $order),
            ") UNION ALL (", candidates!(state "$16" $order), ") UNION ALL (",
            candidates!(state "$17" $order), ") UNION ALL (", candidates!(state "$18" $order),
            ") UNION ALL (", candidates!(state "$19" $order), ") ORDER BY id ", $order, " LIMIT $4"
        )
    };
    (labels $order:literal) => {
        concat!(
            "(", candidates!(label "false" $order), ") UNION ALL (", candidates!(label "true" $order),
            ") ORDER BY id ", $order, " LIMIT $4"
        )
    };
    (state $state:literal $order:literal) => {
        concat!(
            candidates!(), " FROM payloads AS p
            WHERE p.namespace = $1 AND p.state = ", $state, "
            AND (p.namespace, p.state, p.id) > ($1, ", $state, ", $2)
            AND (p.namespace, p.state, p.id) < ($1, ", $state, ", $3)
            ORDER BY p.id ", $order, " LIMIT $4"
        )
    };
    (label $ended:literal $order:literal) => {
        concat!(
            candidates!(), " AND ($14::text IS NULL OR p.state = $14)
            FROM labels AS l JOIN payloads AS p ON p.id = l.payload
            WHERE l.namespace = $1 AND l.key = $15 AND l.value = $16 AND l.ended = ", $ended, "
            AND (l.namespace, l.key, l.value, l.ended, l.payload) > ($1, $15, $16, ", $ended, ", $2)
            AND (l.namespace, l.key, l.value, l.ended, l.payload) < ($1, $15, $16, ", $ended, ", $3)
            ORDER BY l.payload ", $order, " LIMIT $4"
        )
    };
    (sizes $order:literal) => {
        concat!(
            candidates!(), " FROM payloads AS p
            WHERE p.namespace = $1 AND p.state = 'ACTIVE'
            AND (p.namespace, p.size, p.id) > ($1, $14, $2) AND (p.namespace, p.size, p.id) < ($1, $15, $3)
            ORDER BY p.size ", $order, ", p.id ", $order, " LIMIT $4"
        )
    };
    () => {
        "SELECT p.id, p.size,
                p.size BETWEEN $5 AND $6 AND p.created_at BETWEEN $7 AND $8
                AND ($9::bigint IS NULL OR coalesce(p.committed_at BETWEEN $9 AND $10::bigint, false))
                AND ($11::text IS NULL OR coalesce(
                    (SELECT true FROM replicas WHERE payload = p.id AND tier = $11 AND state = 'ready' LIMIT 1), false))
                AND (cardinality($12::text[]) = 0 OR cardinality($12) = (
                    SELECT count(*) FROM labels AS h JOIN unnest($12, $13::bytea[]) AS w (key, value)
                    ON h.key = w.key AND h.value = w.value WHERE h.payload = p.id))"
    };
}

statements! { READS:
    PAYLOAD = payloads!("FROM (SELECT * FROM payloads WHERE id = $1) AS p");
    PAYLOADS = payloads!("FROM (SELECT * FROM payloads WHERE id = ANY ($1::uuid[])) AS p");
    STATE_OLDEST_FIRST = candidates!(state "$14" "ASC");
    STATE_NEWEST_FIRST = candidates!(state "$14" "DESC");
    /// Merges the ranges of the six states; each is read only as far as the page needs. The states are parameters: the
    /// index of unsettled payloads must not be taken for one of a namespace.
    STATES_OLDEST_FIRST = candidates!(states "ASC");
    STATES_NEWEST_FIRST = candidates!(states "DESC");
    LABEL_OLDEST_FIRST = candidates!(label "$17" "ASC");
    LABEL_NEWEST_FIRST = candidates!(label "$17" "DESC");
    /// Merges those that live with those that have ended.
    LABELS_OLDEST_FIRST = candidates!(labels "ASC");
    LABELS_NEWEST_FIRST = candidates!(labels "DESC");
    SMALLEST_FIRST = candidates!(sizes "ASC");
    LARGEST_FIRST = candidates!(sizes "DESC");
    COUNT_LABEL = "
        SELECT count(*) FROM (
            SELECT 1 FROM labels WHERE namespace = $1 AND key = $2 AND value = $3 AND ended BETWEEN $4 AND $5 LIMIT $6
        ) AS few";
    COUNT_SIZES = "
        SELECT count(*) FROM (
            SELECT 1 FROM payloads WHERE namespace = $1 AND state = 'ACTIVE' AND size BETWEEN $2 AND $3 LIMIT $4
        ) AS few";
    RESIDENT = payloads!("FROM (
        (SELECT id FROM payloads WHERE state IN ('ALLOCATED', 'DELETING') AND id > $2
            AND EXISTS (SELECT 1 FROM replicas WHERE payload = payloads.id AND node = $1) ORDER BY id LIMIT $3) UNION
        (SELECT DISTINCT payload FROM replicas WHERE node = $1 AND tier = 'ram' AND payload > $2
         ORDER BY payload LIMIT $3) UNION
        (SELECT DISTINCT payload FROM replicas WHERE node = $1 AND pinned_until IS NOT NULL AND payload > $2
         ORDER BY payload LIMIT $3) UNION
        (SELECT id FROM payloads CROSS JOIN LATERAL (
            SELECT 1 FROM replicas WHERE payload = payloads.id AND node = $1 LIMIT 1) AS here
         WHERE write_behind <> durability AND state = 'ACTIVE' AND id > $2 ORDER BY id LIMIT $3)
        ORDER BY 1 LIMIT $3) AS page JOIN payloads AS p ON p.id = page.id");
    /// The first condition is the index's.
    DELETIONS = "
        SELECT id FROM payloads WHERE state IN ('ALLOCATED', 'DELETING') AND state = 'DELETING' AND id > $2
            AND EXISTS (SELECT 1 FROM replicas WHERE payload = payloads.id AND node = $1)
        ORDER BY id LIMIT $3";
    DUE = "
        SELECT id FROM payloads WHERE deadline <= $2 AND holds = 0 AND (state = 'ACTIVE'
            OR EXISTS (SELECT 1 FROM replicas WHERE payload = payloads.id AND node = $1))
        ORDER BY deadline, id LIMIT $3";
    NEXT_DEADLINE = "
        SELECT deadline FROM payloads WHERE deadline >= $2 AND holds = 0 AND (state = 'ACTIVE'
            OR EXISTS (SELECT 1 FROM replicas WHERE payload = payloads.id AND node = $1))
        ORDER BY deadline LIMIT 1";
    CONTAINERS_IN_USE = "
        SELECT used.one IS NOT NULL AS used
        FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS asked (container, tier, place)
        LEFT JOIN LATERAL (
            SELECT 1 AS one FROM replicas WHERE container = asked.container AND tier = asked.tier LIMIT 1
        ) AS used ON true
        ORDER BY asked.place";
    PAYLOADS_IN = "
        SELECT payload AS id, SUM(charged)::bigint AS charged FROM replicas
        WHERE container = $1 AND tier = $2 AND payload > $3
        GROUP BY payload ORDER BY payload LIMIT $4";
    USAGE = "
        SELECT tier, namespace, replicas, charged FROM usage WHERE node = $1 AND replicas > 0";
    LOG_OF_PAYLOAD = "
        SELECT transaction, number, payload, version, kind, actor, reason, at, from_state, to_state,
               CASE WHEN cardinality($5::text[]) = 0 OR kind = ANY ($5) THEN body END AS body
        FROM events WHERE payload = $7 AND (transaction, number) > ($2, $3) AND transaction <= $4 AND namespace = $1
        ORDER BY transaction, number LIMIT $6";
    NEXT_LOG = "SELECT namespace AS name FROM events WHERE namespace > $1 ORDER BY namespace LIMIT 1";
    /// `length` does not read the bytes of the body.
    METADATA_HISTORY = "
        SELECT revision, version, content_type, length(body)::bigint AS size, actor, reason, at
        FROM metadata WHERE payload = $1 AND revision > $2 ORDER BY revision LIMIT $3";
    METADATA = "
        SELECT revision, version, content_type, length(body)::bigint AS size, actor, reason, at, body
        FROM metadata WHERE payload = $1 AND revision = $2";
    METADATA_LATEST = "
        SELECT revision, version, content_type, length(body)::bigint AS size, actor, reason, at, body
        FROM metadata WHERE payload = $1 ORDER BY revision DESC LIMIT 1";
    REQUEST = "
        SELECT principal, request_id, fingerprint, operation, payload, version, at, stream, first_position
        FROM requests WHERE principal = $1 AND request_id = $2";

    EDGES = "
        SELECT e.child, e.parent, e.operation, e.role, e.parameters, e.actor, e.at
        FROM (SELECT number, place FROM unnest($1::bigint[]) WITH ORDINALITY AS a (number, place) ORDER BY place) AS asked
        JOIN edges AS e ON e.number = asked.number ORDER BY asked.place";
    NODES = "
        SELECT asked.id, p.state, p.size
        FROM (SELECT id, place FROM unnest($1::uuid[]) WITH ORDINALITY AS a (id, place) ORDER BY place) AS asked
        LEFT JOIN payloads AS p ON p.id = asked.id ORDER BY asked.place";

    NAME = "SELECT payload AS id, name, version, actor, at FROM names WHERE namespace = $1 AND name = $2";
    NAMES = "
        SELECT payload AS id, name, version, actor, at FROM names
        WHERE namespace = $1 AND name >= $2 AND name < $3 ORDER BY name LIMIT $4";
    NAMES_OF = "SELECT name FROM names WHERE payload = $1 ORDER BY name";
    NAME_HISTORY = "
        SELECT version, from_payload, to_payload, actor, reason, at FROM name_history
        WHERE namespace = $1 AND name = $2 AND version < $3 ORDER BY version DESC LIMIT $4";

    NAMESPACE = "
        SELECT name, version, quota_bytes, quota_payloads, created_at, created_by FROM namespaces WHERE name = $1";
    NAMESPACE_USE = "
        SELECT namespace AS name, sum(payloads)::bigint AS payloads, sum(bytes)::bigint AS bytes
        FROM namespace_use WHERE namespace = $1 GROUP BY namespace";
    NAMESPACES = "
        SELECT name, version, quota_bytes, quota_payloads, created_at, created_by
        FROM namespaces WHERE name > $1 ORDER BY name LIMIT $2";
}

statements! { WRITES:
    CLAIM = "
        INSERT INTO nodes (node, epoch, claim, claimed_at) VALUES ($1, 1, gen_random_uuid(), $2)
        ON CONFLICT (node) DO UPDATE SET epoch = nodes.epoch + 1, claim = excluded.claim,
            claimed_at = excluded.claimed_at
        RETURNING epoch, claim, batch";
    /// Waits for the batch before this one, and for a claim.
    FENCE = "UPDATE nodes SET batch = batch + 1 WHERE node = $1 AND claim = $2 RETURNING batch";
    /// Waits until the transaction that holds the row has ended, however it does.
    LAST_BATCH = "SELECT claim, batch FROM nodes WHERE node = $1 FOR UPDATE";
    PROVE_WRITABLE = "UPDATE nodes SET checked_at = $2 WHERE node = $1";

    FIND_REQUESTS = "
        SELECT r.principal, r.request_id, r.fingerprint, r.operation, r.payload, r.version, r.at, r.stream, r.first_position
        FROM unnest($1::text[], $2::text[]) AS asked (principal, request_id)
        JOIN requests AS r ON r.principal = asked.principal AND r.request_id = asked.request_id";
    /// In order, so that two batches never wait for each other.
    LOCK_PAYLOADS = "SELECT id, version FROM payloads WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE";

    LOCK_NAMES = "SELECT pg_advisory_xact_lock(number) FROM unnest($1::bigint[]) AS asked (number)";
    /// Each name with what it points at, as far as that exists, and its last move.
    FIND_NAMES = "
        SELECT asked.namespace, asked.name, p.id, p.state, h.version
        FROM unnest($1::text[], $2::text[]) AS asked (namespace, name)
        LEFT JOIN names AS n ON n.namespace = asked.namespace AND n.name = asked.name
        LEFT JOIN payloads AS p ON p.id = n.payload
        LEFT JOIN LATERAL (
            SELECT version FROM name_history WHERE namespace = asked.namespace AND name = asked.name
            ORDER BY version DESC LIMIT 1
        ) AS h ON true";

    FIND_NAMESPACES = "SELECT name FROM namespaces WHERE name = ANY ($1::text[])";
    LOCK_QUOTAS = "
        SELECT name, quota_bytes, quota_payloads FROM namespaces
        WHERE name = ANY ($1::text[]) AND (quota_bytes IS NOT NULL OR quota_payloads IS NOT NULL)
        ORDER BY name FOR UPDATE";
    FIND_NAMESPACE_USES = "
        SELECT namespace AS name, sum(payloads)::bigint AS payloads, sum(bytes)::bigint AS bytes
        FROM namespace_use WHERE namespace = ANY ($1::text[]) GROUP BY namespace";
    FIND_ENDS = "SELECT id, namespace, state FROM payloads WHERE id = ANY ($1::uuid[])";
    FIND_EDGES = "
        SELECT e.child, e.parent, e.operation, e.role
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) AS asked (child, parent, operation, role)
        JOIN edges AS e ON e.child = asked.child AND e.parent = asked.parent
            AND e.operation = asked.operation AND e.role = asked.role";
    /// Those that have children.
    FIND_PARENTS = "
        SELECT asked.id FROM unnest($1::uuid[]) AS asked (id)
        CROSS JOIN LATERAL (SELECT 1 FROM edges WHERE parent = asked.id LIMIT 1) AS e";

    INSERT_PAYLOADS = "
        INSERT INTO payloads (id, namespace, state, deadline, version, size, digest, tier, durability, owner,
                              created_at, committed_at, ttl_ns, priority, spill_to, rederivable, metadata,
                              min_tier, min_residency_ns, write_behind)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[],
                             $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[],
                             $14::text[], $15::text[], $16::boolean[], $17::bigint[], $18::text[], $19::bigint[],
                             $20::text[])";
    /// Leaves out what a payload is for ever.
    UPDATE_PAYLOADS = "
        UPDATE payloads AS p
        SET state = new.state, deadline = new.deadline, version = new.version, size = new.size, digest = new.digest,
            tier = new.tier, durability = new.durability, committed_at = new.committed_at, ttl_ns = new.ttl_ns,
            priority = new.priority, spill_to = new.spill_to, rederivable = new.rederivable,
            metadata = new.metadata, min_tier = new.min_tier, min_residency_ns = new.min_residency_ns,
            write_behind = new.write_behind
        FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], $7::text[],
                    $8::text[], $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::boolean[], $14::bigint[],
                    $15::text[], $16::bigint[], $17::text[])
            AS new (id, state, deadline, version, size, digest, tier, durability, committed_at, ttl_ns,
                    priority, spill_to, rederivable, metadata, min_tier, min_residency_ns, write_behind)
        WHERE p.id = new.id";
    DELETE_LABELS = "
        DELETE FROM labels AS l USING unnest($1::uuid[], $2::text[]) AS gone (payload, key)
        WHERE l.payload = gone.payload AND l.key = gone.key";
    /// When payloads end. (They never come back.)
    MOVE_LABELS = "
        UPDATE labels AS l SET ended = moved.ended FROM unnest($1::uuid[], $2::boolean[]) AS moved (payload, ended)
        WHERE l.payload = moved.payload";
    PUT_LABELS = "
        INSERT INTO labels (payload, key, value, namespace, ended)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[], $5::boolean[])
        ON CONFLICT (payload, key) DO UPDATE SET value = excluded.value";
    DELETE_REPLICAS = "
        DELETE FROM replicas AS r USING unnest($1::uuid[], $2::uuid[]) AS gone (payload, id)
        WHERE r.payload = gone.payload AND r.id = gone.id";
    PUT_REPLICAS = "
        INSERT INTO replicas (payload, id, node, state, tier, kind, container, start, charged, pinned_until)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::uuid[],
                             $8::bigint[], $9::bigint[], $10::bigint[])
        ON CONFLICT (payload, id) DO UPDATE SET node = excluded.node, state = excluded.state, tier = excluded.tier,
            kind = excluded.kind, container = excluded.container, start = excluded.start, charged = excluded.charged,
            pinned_until = excluded.pinned_until";
    ADD_NAMESPACE_USES = "
        INSERT INTO namespace_use (namespace, node, payloads, bytes)
        SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[])
        ON CONFLICT (namespace, node) DO UPDATE
        SET payloads = namespace_use.payloads + excluded.payloads, bytes = namespace_use.bytes + excluded.bytes";
    ADD_USAGE = "
        INSERT INTO usage (node, tier, namespace, replicas, charged)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
        ON CONFLICT (node, tier, namespace) DO UPDATE
        SET replicas = usage.replicas + excluded.replicas, charged = usage.charged + excluded.charged";
    INSERT_EVENTS = "
        INSERT INTO events (namespace, transaction, number, payload, version, kind, actor, reason, at, from_state,
                            to_state, body)
        SELECT e.namespace, pg_current_xact_id()::text::bigint, e.number, e.payload, e.version, e.kind, e.actor,
               e.reason, e.at, e.from_state, e.to_state, e.body
        FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::bigint[], $8::text[],
                    $9::text[], $10::bytea[]) WITH ORDINALITY
            AS e (namespace, payload, version, kind, actor, reason, at, from_state, to_state, body, number)";
    INSERT_METADATA = "
        INSERT INTO metadata (payload, revision, version, content_type, actor, reason, at, body)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::bigint[],
                             $8::bytea[])";
    SUPERSEDE_METADATA = "
        INSERT INTO metadata_superseded (at, payload, revision)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bigint[])";
    MOVES_OVER = "
        INSERT INTO name_moves_over (at, namespace, name, version)
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) ON CONFLICT DO NOTHING";
    INSERT_TOMBSTONES = "
        INSERT INTO tombstones (payload, at, parked)
        SELECT payload, at, false FROM unnest($1::uuid[], $2::bigint[]) AS ended (payload, at)
        ON CONFLICT DO NOTHING";
    PUT_EVENT_BASES = "
        INSERT INTO event_bases (payload, version, body) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[])
        ON CONFLICT (payload) DO UPDATE SET version = excluded.version, body = excluded.body";
    DELETE_EVENTS = "DELETE FROM events WHERE namespace = $1 AND (transaction, number) <= ($2, $3)";
    PUT_LOG_START = "
        INSERT INTO log_starts (namespace, transaction, number) VALUES ($1, $2, $3)
        ON CONFLICT (namespace) DO UPDATE SET transaction = excluded.transaction, number = excluded.number";
    DELETE_SUPERSEDED = "
        DELETE FROM metadata_superseded AS s USING (
            SELECT at, payload, revision FROM metadata_superseded WHERE at < $1 ORDER BY at, payload, revision LIMIT $2
        ) AS over
        WHERE s.at = over.at AND s.payload = over.payload AND s.revision = over.revision
        RETURNING s.payload, s.revision";
    DELETE_REVISIONS = "
        DELETE FROM metadata AS m USING unnest($1::uuid[], $2::bigint[]) AS over (payload, revision)
        WHERE m.payload = over.payload AND m.revision <= over.revision";
    DELETE_MOVES_OVER = "
        DELETE FROM name_moves_over AS m USING (
            SELECT at, namespace, name, version FROM name_moves_over WHERE at < $1
            ORDER BY at, namespace, name, version LIMIT $2
        ) AS over
        WHERE m.at = over.at AND m.namespace = over.namespace AND m.name = over.name AND m.version = over.version
        RETURNING m.namespace, m.name, m.version";
    DELETE_MOVES = "
        DELETE FROM name_history AS h USING unnest($1::text[], $2::text[], $3::bigint[]) AS over (namespace, name, version)
        WHERE h.namespace = over.namespace AND h.name = over.name AND h.version = over.version";
    DUE_TOMBSTONES = "
        SELECT payload AS id, at FROM tombstones WHERE NOT parked AND at < $1 ORDER BY at, payload LIMIT $2";
    /// Those that still have replicas.
    FIND_STORED = "
        SELECT asked.id FROM unnest($1::uuid[]) AS asked (id)
        CROSS JOIN LATERAL (SELECT 1 FROM replicas WHERE payload = asked.id LIMIT 1) AS r";
    PARK_TOMBSTONES = "UPDATE tombstones SET parked = true WHERE payload = ANY ($1::uuid[])";
    UNPARK_TOMBSTONES = "
        UPDATE tombstones AS t SET parked = false WHERE t.payload = ANY ($1::uuid[]) AND t.parked
        AND NOT EXISTS (SELECT 1 FROM edges AS e WHERE e.parent = t.payload)";
    PARENTS = "SELECT DISTINCT parent AS id FROM edges WHERE child = ANY ($1::uuid[])";
    NAMES_OVER = "
        INSERT INTO name_moves_over (at, namespace, name, version)
        SELECT gone.at, n.namespace, n.name, n.version
        FROM unnest($1::uuid[], $2::bigint[]) AS gone (payload, at) JOIN names AS n ON n.payload = gone.payload
        ON CONFLICT DO NOTHING";
    DELETE_NAMES_OF = "DELETE FROM names WHERE payload = ANY ($1::uuid[])";
    DELETE_EDGES_OF = "DELETE FROM edges WHERE child = ANY ($1::uuid[])";
    DELETE_LABELS_OF = "DELETE FROM labels WHERE payload = ANY ($1::uuid[])";
    DELETE_METADATA_OF = "DELETE FROM metadata WHERE payload = ANY ($1::uuid[])";
    DELETE_EVENT_BASES = "DELETE FROM event_bases WHERE payload = ANY ($1::uuid[])";
    DELETE_TOMBSTONES = "DELETE FROM tombstones WHERE payload = ANY ($1::uuid[])";
    DELETE_PAYLOADS = "DELETE FROM payloads WHERE id = ANY ($1::uuid[])";
    INSERT_EDGES = "
        INSERT INTO edges (child, parent, operation, role, parameters, actor, at)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::bigint[])";
    DELETE_NAMES = "
        DELETE FROM names AS n USING unnest($1::text[], $2::text[]) AS gone (namespace, name)
        WHERE n.namespace = gone.namespace AND n.name = gone.name";
    PUT_NAMES = "
        INSERT INTO names (namespace, name, payload, version, actor, at)
        SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::bigint[])
        ON CONFLICT (namespace, name) DO UPDATE SET payload = excluded.payload, version = excluded.version,
            actor = excluded.actor, at = excluded.at";
    INSERT_NAME_MOVES = "
        INSERT INTO name_history (namespace, name, version, from_payload, to_payload, actor, reason, at)
        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[], $5::uuid[], $6::text[], $7::bytea[],
                             $8::bigint[])";
    INSERT_REQUESTS = "
        INSERT INTO requests (principal, request_id, fingerprint, operation, payload, version, at, stream, first_position)
        SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::uuid[], $6::bigint[], $7::bigint[],
                             $8::uuid[], $9::bigint[])";
    /// A whole batch of payloads made and changed, with all that hangs on them. Divides by zero, and so does nothing, unless the
    /// node is still this server's, its payloads are at the versions that they are led from, and its namespaces are there and
    /// have no quota that must be kept.
    COMMIT_OUTRIGHT = "
        WITH fence AS (
            UPDATE nodes SET batch = batch + 1 WHERE node = $1 AND claim = $2 AND batch >= $3::bigint RETURNING batch
        ), made AS (
            INSERT INTO payloads (id, namespace, state, deadline, version, size, digest, tier, durability, owner,
                                  created_at, committed_at, ttl_ns, priority, spill_to, rederivable, metadata,
                                  min_tier, min_residency_ns, write_behind)
            SELECT * FROM unnest($6::uuid[], $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[],
                                 $12::bytea[], $13::text[], $14::text[], $15::text[], $16::bigint[], $17::bigint[],
                                 $18::bigint[], $19::text[], $20::text[], $21::boolean[], $22::bigint[],
                                 $23::text[], $24::bigint[], $25::text[])
        ), changed AS (
            UPDATE payloads AS p
            SET state = new.state, deadline = new.deadline, version = new.version, size = new.size, digest = new.digest,
                tier = new.tier, durability = new.durability, committed_at = new.committed_at, ttl_ns = new.ttl_ns,
                priority = new.priority, spill_to = new.spill_to, rederivable = new.rederivable,
                metadata = new.metadata, min_tier = new.min_tier, min_residency_ns = new.min_residency_ns,
                write_behind = new.write_behind
            FROM unnest($26::uuid[], $27::text[], $28::bigint[], $29::bigint[], $30::bigint[], $31::bytea[],
                        $32::text[], $33::text[], $34::bigint[], $35::bigint[], $36::text[], $37::text[],
                        $38::boolean[], $39::bigint[], $40::text[], $41::bigint[], $42::text[], $43::bigint[])
                AS new (id, state, deadline, version, size, digest, tier, durability, committed_at, ttl_ns,
                        priority, spill_to, rederivable, metadata, min_tier, min_residency_ns, write_behind, before)
            WHERE p.id = new.id AND p.version = new.before
            RETURNING p.id
        ), labelled AS (
            INSERT INTO labels (payload, key, value, namespace, ended)
            SELECT * FROM unnest($44::uuid[], $45::text[], $46::bytea[], $47::text[], $48::boolean[])
            ON CONFLICT (payload, key) DO UPDATE SET value = excluded.value
        ), copied AS (
            INSERT INTO replicas (payload, id, node, state, tier, kind, container, start, charged, pinned_until)
            SELECT * FROM unnest($49::uuid[], $50::uuid[], $51::uuid[], $52::text[], $53::text[], $54::text[],
                                 $55::uuid[], $56::bigint[], $57::bigint[], $58::bigint[])
            ON CONFLICT (payload, id) DO UPDATE SET node = excluded.node, state = excluded.state, tier = excluded.tier,
                kind = excluded.kind, container = excluded.container, start = excluded.start,
                charged = excluded.charged, pinned_until = excluded.pinned_until
        ), used AS (
            INSERT INTO usage (node, tier, namespace, replicas, charged)
            SELECT * FROM unnest($59::uuid[], $60::text[], $61::text[], $62::bigint[], $63::bigint[])
            ON CONFLICT (node, tier, namespace) DO UPDATE
            SET replicas = usage.replicas + excluded.replicas, charged = usage.charged + excluded.charged
        ), logged AS (
            INSERT INTO events (namespace, transaction, number, payload, version, kind, actor, reason, at, from_state,
                                to_state, body)
            SELECT e.namespace, pg_current_xact_id()::text::bigint, e.number, e.payload, e.version, e.kind, e.actor,
                   e.reason, e.at, e.from_state, e.to_state, e.body
            FROM unnest($64::text[], $65::uuid[], $66::bigint[], $67::text[], $68::text[], $69::bytea[],
                        $70::bigint[], $71::text[], $72::text[], $73::bytea[]) WITH ORDINALITY
                AS e (namespace, payload, version, kind, actor, reason, at, from_state, to_state, body, number)
        ), charged AS (
            INSERT INTO namespace_use (namespace, node, payloads, bytes)
            SELECT * FROM unnest($74::text[], $75::uuid[], $76::bigint[], $77::bigint[])
            ON CONFLICT (namespace, node) DO UPDATE
            SET payloads = namespace_use.payloads + excluded.payloads, bytes = namespace_use.bytes + excluded.bytes
        ), asked AS (
            INSERT INTO requests (principal, request_id, fingerprint, operation, payload, version, at, stream,
                                  first_position)
            SELECT * FROM unnest($78::text[], $79::text[], $80::bytea[], $81::text[], $82::uuid[], $83::bigint[],
                                 $84::bigint[], $85::uuid[], $86::bigint[])
        )
        SELECT (SELECT batch FROM fence) AS batch,
               1 / CASE WHEN EXISTS (SELECT FROM fence)
                   AND (SELECT count(*) FROM changed) = cardinality($26::uuid[])
                   AND (SELECT count(*) FROM namespaces WHERE name = ANY ($4::text[])) = cardinality($4::text[])
                   AND NOT EXISTS (
                       SELECT FROM namespaces WHERE name = ANY ($5::text[])
                           AND (quota_bytes IS NOT NULL OR quota_payloads IS NOT NULL))
               THEN 1 ELSE 0 END AS foreseen";
    FORGET_REQUESTS = "
        DELETE FROM requests AS r USING (
            SELECT principal, request_id FROM requests WHERE at < $1 ORDER BY at, principal, request_id LIMIT $2
        ) AS old
        WHERE r.principal = old.principal AND r.request_id = old.request_id";

    NOTIFY = "SELECT pg_notify(channel, word) FROM unnest($1::text[], $2::text[]) AS said (channel, word)";

    NAMESPACE_EXISTS = "SELECT name FROM namespaces WHERE name = $1";
    NAMESPACE_IN_USE = "
        SELECT id FROM payloads WHERE namespace = $1 AND state IN ('ALLOCATED', 'ACTIVE', 'DELETING') LIMIT 1";
    NAMESPACE_HAS_STREAMS = "SELECT streams FROM stream_counts WHERE namespace = $1 AND streams > 0";
    INSERT_NAMESPACE = "
        INSERT INTO namespaces (name, version, quota_bytes, quota_payloads, created_at, created_by)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    UPDATE_NAMESPACE = "
        UPDATE namespaces SET version = $2, quota_bytes = $3, quota_payloads = $4
        WHERE name = $1 AND version = $2::bigint - 1";
    DELETE_NAMESPACE = "DELETE FROM namespaces WHERE name = $1 AND version = $2";
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use payload_core::Timestamp;
    use payload_testkit::process::Postgres;

    use super::super::connect::{Conn, Session};
    use super::super::database::Database;
    use super::super::fault::Fault;
    use super::super::migrate;
    use super::super::options::{PostgresOptions, Target};
    use super::super::streams;
    use super::{READS, SHARED, WRITES};

    /// The plan that a session of ours would use, a line for each of its parts.
    async fn plan(session: &Session, sql: &str) -> Result<Vec<String>, Fault> {
        let client = session.client();
        let count = client.prepare(sql).await?.params().len();
        session.batch(&format!("PREPARE explained AS {sql}")).await?;
        let nulls = vec!["NULL"; count].join(", ");
        let arguments = if count == 0 { nulls } else { format!("({nulls})") };
        let explain = format!("EXPLAIN EXECUTE explained {arguments}");
        let messages = client.simple_query(&explain).await?;
        session.batch("DEALLOCATE explained").await?;
        let lines = messages.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(lines.collect())
    }

    /// The first column of each index.
    async fn first_columns(session: &Session) -> Result<HashMap<String, String>, Fault> {
        let sql = "SELECT i.indexrelid::regclass::text, a.attname::text FROM pg_index AS i
                   JOIN pg_attribute AS a ON a.attrelid = i.indexrelid AND a.attnum = 1";
        let rows = session.client().query(sql, &[]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Whether a table or an index is read from one end to the other: an index is not if its first column is asked for.
    fn scans(plan: &[String], first_columns: &HashMap<String, String>) -> bool {
        let words = |line: &str| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_')
                .map(str::to_owned)
                .collect()
        };
        for (place, line) in plan.iter().enumerate() {
            let line_words: Vec<String> = words(line);
            let index = line_words.iter().find_map(|word| first_columns.get(word));
            let index = index.filter(|_| line.contains(" Scan "));
            let condition = plan.get(place + 1).filter(|line| line.contains("Index Cond:"));
            let condition: Vec<String> = condition.map(|line| words(line)).unwrap_or_default();
            if line.contains("Seq Scan") || index.is_some_and(|first| !condition.contains(first)) {
                return true;
            }
        }
        false
    }

    /// Many payloads that are alike, so that statistics see no use in the columns that tell them apart.
    const MANY_ALIKE: &str = "
        INSERT INTO payloads (id, namespace, state, version, size, tier, durability, priority, spill_to, rederivable,
                              owner, created_at)
        SELECT ('01890000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'default', 'ACTIVE', 1, n, 'ram',
               'volatile', 'normal', 'disk', false, 'uid:1', n FROM generate_series(1, 20000) AS n;
        INSERT INTO labels (payload, key, value, namespace, ended) SELECT id, 'k', 'v', namespace, false FROM payloads;
        INSERT INTO replicas (payload, id, node, state, tier, kind, container, start, charged)
        SELECT id, id, id, 'ready', 'ram', 'segment', id, 0, 1 FROM payloads;
        ANALYZE payloads, labels, replicas";

    /// Each kind of listing begins with the range of the index that was made for it, whatever statistics say.
    fn check_listings(conn: &Conn) {
        let key = "(ROW(namespace, key, value, ended, payload) >";
        let (label, state, sizes) = (
            ("using labels_by_value on", key),
            ("using payloads_by_state on", "(ROW(namespace, state, id) >"),
            ("using payloads_by_size on", "(ROW(namespace, size, id) >"),
        );
        for (sql, (index, condition), times) in [
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
        ] {
            let plan = conn.run(async |session: &Session| plan(session, sql).await).unwrap();
            let begins = |pair: &&[String]| pair[0].contains(index) && pair[1].contains(condition);
            assert_eq!(plan.windows(2).filter(begins).count(), times, "{plan:#?}");
            assert!(!plan.iter().any(|line| line.contains("Sort  (")), "{plan:#?}");
        }
    }

    #[test]
    fn no_statement_scans_a_table() {
        let server = Postgres::start();
        let database = Database::parse(&server.url(), None).unwrap();
        let target = Target::new(&database, PostgresOptions::default());
        migrate::run(&target, migrate::MIGRATIONS, Timestamp::from_micros(0)).unwrap();
        let conn = Conn::open(&target, &[READS]).unwrap();
        let columns = conn.run(first_columns).unwrap();
        let check = || {
            let streams = streams::sql::READS.iter().chain(streams::sql::WRITES);
            for (name, sql) in SHARED.iter().chain(READS).chain(WRITES).chain(streams) {
                let plan = conn.run(async |session: &Session| plan(session, sql).await).unwrap();
                assert!(!scans(&plan, &columns), "{name}: {plan:#?}");
            }
            check_listings(&conn);
        };
        check();
        conn.run(async |session: &Session| session.batch(MANY_ALIKE).await)
            .unwrap();
        check();
        for bad in [
            "SELECT * FROM payloads WHERE size = 7",
            "SELECT id FROM payloads ORDER BY id LIMIT 7",
            "SELECT l.key FROM unnest($1::text[]) AS t (value) JOIN labels AS l ON l.key = t.value",
        ] {
            let plan = conn.run(async |session: &Session| plan(session, bad).await).unwrap();
            assert!(scans(&plan, &columns), "{plan:#?}");
        }
    }
}
