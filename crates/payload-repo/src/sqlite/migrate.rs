//! Brings a database to the schema that this binary knows, or refuses to touch it.

use std::path::Path;

use payload_core::{Error, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::fault::Fault;
use crate::migration::{self, Applied, Migration};

/// Every step, in order.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "payloads",
        sql: include_str!("../../migrations/sqlite/0001_payloads.sql"),
    },
    Migration {
        number: 2,
        name: "namespaces",
        sql: include_str!("../../migrations/sqlite/0002_namespaces.sql"),
    },
    Migration {
        number: 3,
        name: "lineage",
        sql: include_str!("../../migrations/sqlite/0003_lineage.sql"),
    },
    Migration {
        number: 4,
        name: "names",
        sql: include_str!("../../migrations/sqlite/0004_names.sql"),
    },
    Migration {
        number: 5,
        name: "streams",
        sql: include_str!("../../migrations/sqlite/0005_streams.sql"),
    },
    Migration {
        number: 6,
        name: "quotas",
        sql: include_str!("../../migrations/sqlite/0006_quotas.sql"),
    },
    Migration {
        number: 7,
        name: "search",
        sql: include_str!("../../migrations/sqlite/0007_search.sql"),
    },
    Migration {
        number: 8,
        name: "journal",
        sql: include_str!("../../migrations/sqlite/0008_journal.sql"),
    },
    Migration {
        number: 9,
        name: "metadata",
        sql: include_str!("../../migrations/sqlite/0009_metadata.sql"),
    },
    Migration {
        number: 10,
        name: "retention",
        sql: include_str!("../../migrations/sqlite/0010_retention.sql"),
    },
    Migration {
        number: 11,
        name: "residency",
        sql: include_str!("../../migrations/sqlite/0011_residency.sql"),
    },
    Migration {
        number: 12,
        name: "write_behind",
        sql: include_str!("../../migrations/sqlite/0012_write_behind.sql"),
    },
];

const CREATE_LOG: &str = "
    CREATE TABLE IF NOT EXISTS migrations (
        number     INTEGER NOT NULL PRIMARY KEY,
        name       TEXT    NOT NULL,
        checksum   BLOB    NOT NULL,
        applied_at INTEGER NOT NULL
    ) STRICT";

/// Applies what is missing, each step in a transaction of its own: whoever dies in the middle leaves the step before.
pub(super) fn run(conn: &mut Connection, path: &Path, migrations: &[Migration], at: Timestamp) -> Result<(), Error> {
    let fault = |error: rusqlite::Error| Fault::from(error).into_error(path);
    loop {
        let tx = conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(fault)?;
        tx.execute_batch(CREATE_LOG).map_err(fault)?;
        let applied = applied(&tx).map_err(fault)?;
        let Some(next) = migration::next(&path.display().to_string(), &applied, migrations)? else {
            return Ok(());
        };
        apply(&tx, next, at).and_then(|()| tx.commit()).map_err(fault)?;
    }
}

fn applied(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Applied>> {
    let mut statement = tx.prepare("SELECT number, name, checksum FROM migrations ORDER BY number")?;
    let rows = statement.query_map([], |row| {
        Ok(Applied {
            number: row.get(0)?,
            name: row.get(1)?,
            checksum: row.get(2)?,
        })
    })?;
    rows.collect()
}

fn apply(tx: &Transaction<'_>, migration: &Migration, at: Timestamp) -> rusqlite::Result<()> {
    tx.execute_batch(migration.sql)?;
    tx.execute(
        "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
        params![
            migration.number,
            migration.name,
            migration.checksum().as_bytes(),
            at.as_micros()
        ],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use payload_core::Reason;

    use super::*;

    const AT: Timestamp = Timestamp::from_micros(1);
    const ONE: Migration = Migration {
        number: 1,
        name: "one",
        sql: "CREATE TABLE one (a INTEGER) STRICT",
    };
    const TWO: Migration = Migration {
        number: 2,
        name: "two",
        sql: "CREATE TABLE two (a INTEGER) STRICT; INSERT INTO two VALUES (1)",
    };

    fn migrate(conn: &mut Connection, migrations: &[Migration]) -> Result<(), Error> {
        run(conn, Path::new("catalog.db"), migrations, AT)
    }

    fn tables(conn: &Connection) -> Vec<String> {
        let mut statement = conn
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            .unwrap();
        let names = statement.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    }

    #[test]
    fn each_migration_is_applied_once() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &[ONE]).unwrap();
        for _ in 0..2 {
            migrate(&mut conn, &[ONE, TWO]).unwrap();
        }
        assert_eq!(tables(&conn), ["migrations", "one", "two"]);
        let rows: i64 = conn
            .query_row("SELECT count(*) FROM two", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 1);
    }

    #[test]
    fn fault_59_a_newer_schema_is_refused_naming_both_versions() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &[ONE, TWO]).unwrap();
        let error = migrate(&mut conn, &[ONE]).unwrap_err();
        assert_eq!(error.reason(), Reason::RepositoryIncompatible);
        assert!(error.message().contains("version 2"), "{error}");
        assert!(error.message().contains("up to 1"), "{error}");
    }

    #[test]
    fn fault_59_a_changed_migration_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &[ONE]).unwrap();
        let changed = Migration {
            sql: "CREATE TABLE one (a TEXT) STRICT",
            ..ONE
        };
        let error = migrate(&mut conn, &[changed, TWO]).unwrap_err();
        assert_eq!(error.reason(), Reason::RepositoryIncompatible);
        assert_eq!(tables(&conn), ["migrations", "one"]);
    }

    #[test]
    fn fault_59_a_migration_that_fails_leaves_the_version_before() {
        let mut conn = Connection::open_in_memory().unwrap();
        let broken = Migration {
            sql: "CREATE TABLE two (a INTEGER) STRICT; nonsense",
            ..TWO
        };
        migrate(&mut conn, &[ONE, broken]).unwrap_err();
        assert_eq!(tables(&conn), ["migrations", "one"]);
        migrate(&mut conn, &[ONE, TWO]).unwrap();
        assert_eq!(tables(&conn), ["migrations", "one", "two"]);
    }

    #[test]
    fn the_list_is_the_folder() {
        migration::check_folder("sqlite", MIGRATIONS);
    }
}
