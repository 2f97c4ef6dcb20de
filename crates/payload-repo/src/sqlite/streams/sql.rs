//! The statements about streams.

/// What makes a stream, in the order in which it is read.
macro_rules! columns {
    () => {
        "id, namespace, name, hold, retention_entries, retention_age_ns, retention_bytes, batch_max, version, created_at, \
         ended, earliest, head, last_at, bytes, bytes_trimmed, group_count, producer_count"
    };
}

statements! {
    STREAM_NAMED = concat!("
        SELECT ", columns!(), " FROM streams WHERE namespace = ?1 AND name = ?2 AND ended = 0");
    STREAM = concat!("
        SELECT ", columns!(), " FROM streams WHERE id = ?1");
    STREAMS = concat!("
        SELECT ", columns!(), " FROM streams WHERE namespace = ?1 AND name > ?2 AND ended = 0 ORDER BY name LIMIT ?3");
    STREAMS_TO_TRIM = concat!("
        SELECT ", columns!(), " FROM streams WHERE trims = 1 AND id > ?1 ORDER BY id LIMIT ?2");
    /// What an append changes; the indexes know nothing of it.
    MOVE_STREAM = "
        UPDATE streams SET earliest = ?4, head = ?5, last_at = ?6, bytes = ?7, bytes_trimmed = ?8, group_count = ?9,
                           producer_count = ?10
        WHERE id = ?1 AND version = ?2 AND ended = ?3";
    PUT_STREAM = "
        INSERT INTO streams (id, namespace, name, hold, retention_entries, retention_age_ns, retention_bytes, batch_max,
                             version, created_at, ended, trims, earliest, head, last_at, bytes, bytes_trimmed,
                             group_count, producer_count)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
        ON CONFLICT (id) DO UPDATE SET hold = excluded.hold, retention_entries = excluded.retention_entries,
            retention_age_ns = excluded.retention_age_ns, retention_bytes = excluded.retention_bytes,
            batch_max = excluded.batch_max, version = excluded.version, ended = excluded.ended, trims = excluded.trims";
    DROP_STREAM = "DELETE FROM streams WHERE id = ?1";
    DROP_GROUPS = "DELETE FROM stream_groups WHERE stream = ?1";
    DROP_PRODUCERS = "DELETE FROM stream_producers WHERE stream = ?1";
    COUNT_STREAMS = "SELECT streams FROM stream_counts WHERE namespace = ?1";
    ADD_STREAMS = "
        INSERT INTO stream_counts (namespace, streams) VALUES (?1, ?2)
        ON CONFLICT DO UPDATE SET streams = streams + excluded.streams RETURNING streams";

    PAYLOAD_SEEN = "SELECT namespace, state, deadline, size, holds FROM payloads WHERE id = ?1";
    HOLDS = "SELECT holds FROM payloads WHERE id = ?1";
    ADD_HOLDS = "UPDATE payloads SET holds = holds + ?2 WHERE id = ?1";
    NOTE_APPENDED = "UPDATE requests SET stream = ?3, first_position = ?4 WHERE principal = ?1 AND request_id = ?2";

    INSERT_ENTRY = "
        INSERT INTO stream_entries (stream, position, payload, size, bytes_through, at, tags, held)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    ENTRIES = "
        SELECT position, payload, size, bytes_through, at, tags, held FROM stream_entries
        WHERE stream = ?1 AND position >= ?2 AND position < ?3 ORDER BY position";
    READ_ENTRIES = "
        SELECT e.position, e.payload, e.size, e.bytes_through, e.at, e.tags, e.held, p.state
        FROM stream_entries e LEFT JOIN payloads p ON p.id = e.payload
        WHERE e.stream = ?1 AND e.position >= ?2 AND e.position < ?4 ORDER BY e.position LIMIT ?3";
    DELETE_ENTRIES = "DELETE FROM stream_entries WHERE stream = ?1 AND position < ?2";

    GROUP = "SELECT name, position, generation, at FROM stream_groups WHERE stream = ?1 AND name = ?2";
    GROUPS = "SELECT name, position, generation, at FROM stream_groups WHERE stream = ?1 ORDER BY name";
    PUT_GROUP = "
        INSERT INTO stream_groups (stream, name, position, generation, at) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT DO UPDATE SET position = excluded.position, generation = excluded.generation, at = excluded.at";

    PRODUCER = "
        SELECT name, epoch, next_sequence, batches, at FROM stream_producers WHERE stream = ?1 AND name = ?2";
    PRODUCERS = "
        SELECT name, epoch, next_sequence, batches, at FROM stream_producers WHERE stream = ?1 ORDER BY name";
    PUT_PRODUCER = "
        INSERT INTO stream_producers (stream, name, epoch, next_sequence, batches, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT DO UPDATE SET epoch = excluded.epoch, next_sequence = excluded.next_sequence,
            batches = excluded.batches, at = excluded.at";
    DELETE_PRODUCER = "DELETE FROM stream_producers WHERE stream = ?1 AND name = ?2";
}
