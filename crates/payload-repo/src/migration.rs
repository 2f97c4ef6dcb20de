//! Numbered steps of a schema: which of them a database has, and whether this binary may go on from there.

use payload_core::{Digest, Error, Reason, Result};

/// One numbered step of the schema. Once released it never changes; its checksum is kept with the data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Migration {
    pub(crate) number: i64,
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

impl Migration {
    pub(crate) fn checksum(&self) -> Digest {
        Digest::of(self.sql.as_bytes())
    }
}

/// A step that a database says it has.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) checksum: Vec<u8>,
}

/// The step that comes next. What was applied must be a beginning of what this binary knows, letter for letter.
pub(crate) fn next<'a>(
    database: &str,
    applied: &[Applied],
    migrations: &'a [Migration],
) -> Result<Option<&'a Migration>> {
    let known = migrations.last().map_or(0, |migration| migration.number);
    let found = applied.last().map_or(0, |migration| migration.number);
    if found > known {
        return Err(Error::new(
            Reason::RepositoryIncompatible,
            format!(
                "{database} has schema version {found}, and this server knows versions up to {known}; start a newer server"
            ),
        ));
    }
    for (old, new) in applied.iter().zip(migrations) {
        if old.number != new.number || old.checksum != new.checksum().as_bytes() {
            return Err(Error::new(
                Reason::RepositoryIncompatible,
                format!(
                    "{database} was made with another migration {} ({}) than the one that this server knows",
                    old.number, old.name
                ),
            ));
        }
    }
    Ok(migrations.get(applied.len()))
}

/// The migrations of an engine are the files of its folder, numbered from 1.
#[cfg(test)]
pub(crate) fn check_folder(engine: &str, migrations: &[Migration]) {
    let folder = format!("{}/migrations/{engine}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let listed: Vec<String> = migrations
        .iter()
        .map(|migration| format!("{:04}_{}.sql", migration.number, migration.name))
        .collect();
    assert_eq!(files, listed);
    let numbers = migrations.iter().map(|migration| migration.number);
    assert!(numbers.eq(1..=migrations.len() as i64));
}
