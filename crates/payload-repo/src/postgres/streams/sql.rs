//! The statements about streams.

/// What makes a stream.
macro_rules! columns {
    () => {
        "id, namespace, name, hold, retention_entries, retention_age_ns, retention_bytes, batch_max, version, created_at, \
         ended, earliest, head, last_at, bytes, bytes_trimmed, group_count, producer_count"
    };
}

statements! { READS:
    STREAM_NAMED = concat!("SELECT ", columns!(), " FROM streams WHERE namespace = $1 AND name = $2 AND NOT ended");
    STREAM = concat!("SELECT ", columns!(), " FROM streams WHERE id = $1");
    STREAMS = concat!(
        "SELECT ", columns!(),
        " FROM streams WHERE namespace = $1 AND name > $2 AND NOT ended ORDER BY name LIMIT $3"
    );
    STREAMS_TO_TRIM = concat!("SELECT ", columns!(), " FROM streams WHERE trims AND id > $1 ORDER BY id LIMIT $2");
    HOLDS = "SELECT holds FROM payloads WHERE id = $1";
    /// The state of each payload is looked up by its id (OFFSET keeps the lookup where it is).
    READ_ENTRIES = "
        SELECT e.position, e.payload, e.size, e.bytes_through, e.at, e.tags, e.held, p.state
        FROM (
            SELECT * FROM stream_entries WHERE stream = $1 AND position >= $2 ORDER BY position LIMIT $3
        ) AS e LEFT JOIN LATERAL (SELECT state FROM payloads WHERE id = e.payload OFFSET 0) AS p ON true
        ORDER BY e.position";
    GROUP = "SELECT name, position, generation, at FROM stream_groups WHERE stream = $1 AND name = $2";
    GROUPS = "SELECT name, position, generation, at FROM stream_groups WHERE stream = $1 ORDER BY name";
    PRODUCER = "
        SELECT name, epoch, next_sequence, batches, at FROM stream_producers WHERE stream = $1 AND name = $2";
}

statements! { WRITES:
    /// Who appends to a stream, or changes it, has its row; all the rest of it follows from that.
    LOCK_STREAM_NAMED = concat!(
        "SELECT ", columns!(), " FROM streams WHERE namespace = $1 AND name = $2 AND NOT ended FOR UPDATE"
    );
    /// Each by its index, in the order in which they are asked for (FOR UPDATE keeps the lookup where it is).
    LOCK_STREAMS_NAMED = concat!(
        "SELECT s.* FROM unnest($1::text[], $2::text[]) AS asked (namespace, name), LATERAL (SELECT ", columns!(),
        " FROM streams AS s WHERE s.namespace = asked.namespace AND s.name = asked.name AND NOT s.ended FOR UPDATE) AS s"
    );
    PRODUCERS_NAMED = "
        SELECT p.* FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (namespace, stream, name),
        LATERAL (SELECT id FROM streams AS s
                 WHERE s.namespace = asked.namespace AND s.name = asked.stream AND NOT s.ended OFFSET 0) AS s,
        LATERAL (SELECT stream, name, epoch, next_sequence, batches, at FROM stream_producers AS p
                 WHERE p.stream = s.id AND p.name = asked.name OFFSET 0) AS p";
    GROUPS_NAMED = "
        SELECT g.* FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (namespace, stream, name),
        LATERAL (SELECT id FROM streams AS s
                 WHERE s.namespace = asked.namespace AND s.name = asked.stream AND NOT s.ended OFFSET 0) AS s,
        LATERAL (SELECT stream, name, position, generation, at FROM stream_groups AS g
                 WHERE g.stream = s.id AND g.name = asked.name OFFSET 0) AS g";
    PAYLOADS_SEEN = "SELECT id, namespace, state, deadline, size, holds FROM payloads WHERE id = ANY ($1::uuid[])";
    LOCK_STREAM = concat!("SELECT ", columns!(), " FROM streams WHERE id = $1 FOR UPDATE");
    COUNT_STREAMS = "SELECT streams FROM stream_counts WHERE namespace = $1 FOR UPDATE";
    NAMESPACE_NAMED = "SELECT name FROM namespaces WHERE name = $1";
    LOCK_PAYLOAD_SEEN = "
        SELECT id, namespace, state, deadline, size, holds FROM payloads WHERE id = $1 FOR UPDATE";
    ENTRIES = "
        SELECT position, payload, size, bytes_through, at, tags, held FROM stream_entries
        WHERE stream = $1 AND position >= $2 AND position < $3 ORDER BY position";
    GROUP_NAMED = "SELECT name, position, generation, at FROM stream_groups WHERE stream = $1 AND name = $2";
    PRODUCER_NAMED = "
        SELECT name, epoch, next_sequence, batches, at FROM stream_producers WHERE stream = $1 AND name = $2";
    PRODUCERS = "
        SELECT name, epoch, next_sequence, batches, at FROM stream_producers WHERE stream = $1 ORDER BY name";

    INSERT_STREAMS = "
        INSERT INTO streams (id, namespace, name, hold, retention_entries, retention_age_ns, retention_bytes, batch_max,
                             version, created_at, ended, trims, earliest, head, last_at, bytes, bytes_trimmed,
                             group_count, producer_count)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
                             $8::bigint[], $9::bigint[], $10::bigint[], $11::boolean[], $12::boolean[], $13::bigint[],
                             $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[])";
    UPDATE_STREAMS = "
        UPDATE streams AS s
        SET hold = new.hold, retention_entries = new.retention_entries, retention_age_ns = new.retention_age_ns,
            retention_bytes = new.retention_bytes, batch_max = new.batch_max, version = new.version, ended = new.ended,
            trims = new.trims, earliest = new.earliest, head = new.head, last_at = new.last_at, bytes = new.bytes,
            bytes_trimmed = new.bytes_trimmed, group_count = new.group_count, producer_count = new.producer_count
        FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                    $8::boolean[], $9::boolean[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
                    $14::bigint[], $15::bigint[], $16::bigint[])
            AS new (id, hold, retention_entries, retention_age_ns, retention_bytes, batch_max, version, ended, trims,
                    earliest, head, last_at, bytes, bytes_trimmed, group_count, producer_count)
        WHERE s.id = new.id";
    DROP_STREAMS = "DELETE FROM streams WHERE id = ANY ($1::uuid[])";
    DROP_GROUPS = "DELETE FROM stream_groups WHERE stream = ANY ($1::uuid[])";
    DROP_PRODUCERS = "DELETE FROM stream_producers WHERE stream = ANY ($1::uuid[])";
    ADD_STREAMS = "
        INSERT INTO stream_counts (namespace, streams) SELECT * FROM unnest($1::text[], $2::bigint[])
        ON CONFLICT (namespace) DO UPDATE SET streams = stream_counts.streams + excluded.streams";
    ADD_HOLDS = "
        UPDATE payloads AS p SET holds = p.holds + more.holds
        FROM unnest($1::uuid[], $2::bigint[]) AS more (id, holds) WHERE p.id = more.id";
    DELETE_ENTRIES = "
        DELETE FROM stream_entries AS e USING unnest($1::uuid[], $2::bigint[]) AS gone (stream, position)
        WHERE e.stream = gone.stream AND e.position < gone.position";
    INSERT_ENTRIES = "
        INSERT INTO stream_entries (stream, position, payload, size, bytes_through, at, tags, held)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[],
                             $7::text[], $8::boolean[])";
    PUT_GROUPS = "
        INSERT INTO stream_groups (stream, name, position, generation, at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
        ON CONFLICT (stream, name) DO UPDATE
        SET position = excluded.position, generation = excluded.generation, at = excluded.at";
    DELETE_PRODUCERS = "
        DELETE FROM stream_producers AS p USING unnest($1::uuid[], $2::text[]) AS gone (stream, name)
        WHERE p.stream = gone.stream AND p.name = gone.name";
    PUT_PRODUCERS = "
        INSERT INTO stream_producers (stream, name, epoch, next_sequence, batches, at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bigint[])
        ON CONFLICT (stream, name) DO UPDATE
        SET epoch = excluded.epoch, next_sequence = excluded.next_sequence, batches = excluded.batches, at = excluded.at";
}
