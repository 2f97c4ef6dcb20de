//! Brings a database to the schema that this binary knows, or refuses to touch it.

use payload_core::{Result, Timestamp};

use super::connect::{Conn, Session};
use super::fault::Fault;
use super::options::Target;
use crate::migration::{self, Applied, Migration};

/// Every step, in order.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "payloads",
        sql: include_str!("../../migrations/postgres/0001_payloads.sql"),
    },
    Migration {
        number: 2,
        name: "namespaces",
        sql: include_str!("../../migrations/postgres/0002_namespaces.sql"),
    },
    Migration {
        number: 3,
        name: "lineage",
        sql: include_str!("../../migrations/postgres/0003_lineage.sql"),
    },
    Migration {
        number: 4,
        name: "names",
        sql: include_str!("../../migrations/postgres/0004_names.sql"),
    },
    Migration {
        number: 5,
        name: "streams",
        sql: include_str!("../../migrations/postgres/0005_streams.sql"),
    },
    Migration {
        number: 6,
        name: "claims",
        sql: include_str!("../../migrations/postgres/0006_claims.sql"),
    },
    Migration {
        number: 7,
        name: "quotas",
        sql: include_str!("../../migrations/postgres/0007_quotas.sql"),
    },
    Migration {
        number: 8,
        name: "search",
        sql: include_str!("../../migrations/postgres/0008_search.sql"),
    },
    Migration {
        number: 9,
        name: "metadata",
        sql: include_str!("../../migrations/postgres/0009_metadata.sql"),
    },
    Migration {
        number: 10,
        name: "retention",
        sql: include_str!("../../migrations/postgres/0010_retention.sql"),
    },
    Migration {
        number: 11,
        name: "residency",
        sql: include_str!("../../migrations/postgres/0011_residency.sql"),
    },
    Migration {
        number: 12,
        name: "write_behind",
        sql: include_str!("../../migrations/postgres/0012_write_behind.sql"),
    },
];

/// Two servers that start together migrate one after the other. The number is nobody else's: it spells "payloads". An
/// index over much takes longer than any other statement may.
const BEGIN: &str = "
    BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(x'7061796c6f616473'::bigint)";

const CREATE_LOG: &str = "
    CREATE TABLE IF NOT EXISTS migrations (
        number     bigint NOT NULL PRIMARY KEY,
        name       text   NOT NULL,
        checksum   bytea  NOT NULL,
        applied_at bigint NOT NULL
    )";

/// Applies what is missing, each step in a transaction of its own: whoever dies in the middle leaves the step before.
pub(super) fn run(target: &Target, migrations: &[Migration], at: Timestamp) -> Result<()> {
    let fault = |fault: Fault| fault.into_error(target.name());
    let conn = Conn::open(target, &[]).map_err(fault)?;
    loop {
        let applied = conn.run_for_long(begin).map_err(fault)?;
        let Some(next) = migration::next(target.name(), &applied, migrations)? else {
            return conn.run(async |session| session.batch("ROLLBACK").await).map_err(fault);
        };
        conn.run_for_long(async |session| apply(session, next, at).await)
            .map_err(fault)?;
    }
}

async fn begin(session: &Session) -> Result<Vec<Applied>, Fault> {
    session.batch(BEGIN).await?;
    session.batch(CREATE_LOG).await?;
    let sql = "SELECT number, name, checksum FROM migrations ORDER BY number";
    let rows = session.client().query(sql, &[]).await?;
    let applied = rows.iter().map(|row| {
        Ok(Applied {
            number: row.try_get(0)?,
            name: row.try_get(1)?,
            checksum: row.try_get(2)?,
        })
    });
    applied.collect()
}

async fn apply(session: &Session, migration: &Migration, at: Timestamp) -> Result<(), Fault> {
    session.batch(migration.sql).await?;
    let sql = "INSERT INTO migrations (number, name, checksum, applied_at) VALUES ($1, $2, $3, $4)";
    let checksum = migration.checksum();
    let checksum = &checksum.as_bytes()[..];
    let params: super::connect::Params<'_> = &[&migration.number, &migration.name, &checksum, &at.as_micros()];
    session.client().execute(sql, params).await?;
    session.batch("COMMIT").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_folder() {
        migration::check_folder("postgres", MIGRATIONS);
    }
}
