//! Brings a database to the schema that this binary knows, or refuses to touch it.

use std::path::Path;

use payload_core::{Digest, Error, Reason, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::fault::Fault;

/// One numbered step of the schema. Once released it never changes; its checksum is kept with the data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

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
        check(path, &applied, migrations)?;
        let Some(next) = migrations.get(applied.len()) else {
            return Ok(());
        };
        apply(&tx, next, at).and_then(|()| tx.commit()).map_err(fault)?;
    }
}

struct Applied {
    number: i64,
    name: String,
    checksum: Vec<u8>,
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

/// What was applied must be a beginning of what this binary knows, letter for letter.
fn check(path: &Path, applied: &[Applied], migrations: &[Migration]) -> Result<(), Error> {
    let known = migrations.last().map_or(0, |migration| migration.number);
    let found = applied.last().map_or(0, |migration| migration.number);
    let path = path.display();
    if found > known {
        return Err(Error::new(
            Reason::RepositoryIncompatible,
            format!(
                "{path} has schema version {found}, and this server knows versions up to {known}; start a newer server"
            ),
        ));
    }
    for (old, new) in applied.iter().zip(migrations) {
        if old.number != new.number || old.checksum != checksum(new).as_bytes() {
            return Err(Error::new(
                Reason::RepositoryIncompatible,
                format!(
                    "{path} was made with another migration {} ({}) than the one that this server knows",
                    old.number, old.name
                ),
            ));
        }
    }
    Ok(())
}

fn apply(tx: &Transaction<'_>, migration: &Migration, at: Timestamp) -> rusqlite::Result<()> {
    tx.execute_batch(migration.sql)?;
    tx.execute(
        "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
        params![
            migration.number,
            migration.name,
            checksum(migration).as_bytes(),
            at.as_micros()
        ],
    )?;
    Ok(())
}

fn checksum(migration: &Migration) -> Digest {
    Digest::of(migration.sql.as_bytes())
}

#[cfg(test)]
mod tests {
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
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let listed: Vec<String> = MIGRATIONS
            .iter()
            .map(|migration| format!("{:04}_{}.sql", migration.number, migration.name))
            .collect();
        assert_eq!(files, listed);
        assert!(
            MIGRATIONS
                .iter()
                .map(|migration| migration.number)
                .eq(1..=MIGRATIONS.len() as i64)
        );
    }
}
