//! The same on PostgreSQL, next to the bare driver.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use payload_core::PayloadId;
use payload_core::port::Repository;

use super::{FEW, Ids, forget, labels, list, timed};
use crate::floor::postgres::{Bare, uuid};
use crate::measure::{Figure, Subject, compare};
use crate::report::Settings;
use crate::rows;

/// The database of the smaller catalog.
const SMALL: &str = "payload_bench_few";

/// The payload's own row alone; the repository gives what hangs on it too, in one round trip as well.
const SELECT: &str = "SELECT * FROM payloads WHERE id = $1";

pub(super) fn measure(settings: &Settings, url: &str, data: Option<&Path>, payloads: u64) -> Result<Vec<Figure>> {
    let driver = Bare::connect(url)?;
    driver.batch(&format!("DROP DATABASE IF EXISTS {SMALL}"))?;
    driver.batch(&format!("CREATE DATABASE {SMALL}"))?;
    let (few, many) = (rows::open_postgres(&beside(url)?)?, rows::open_postgres(url)?);
    rows::fill(&few, FEW, labels)?;
    rows::fill(&many, payloads, labels)?;
    driver.batch("CHECKPOINT")?;
    let mut figures = get(settings, &driver, &many, data, payloads)?;
    figures.extend(list(settings, "PostgreSQL", &few, &many, payloads)?);
    drop(few);
    driver.batch(&format!("DROP DATABASE {SMALL}"))?;
    Ok(figures)
}

/// The URL of the other database on the same server.
fn beside(url: &str) -> Result<String> {
    let (before, options) = url
        .split_once('?')
        .map_or((url, ""), |(before, options)| (before, options));
    let (server, _) = before.rsplit_once('/').context("the URL names no database")?;
    let options = if options.is_empty() {
        String::new()
    } else {
        format!("?{options}")
    };
    Ok(format!("{server}/{SMALL}{options}"))
}

fn get(
    settings: &Settings,
    driver: &Bare,
    repository: &dyn Repository,
    data: Option<&Path>,
    payloads: u64,
) -> Result<Vec<Figure>> {
    let statement = driver.prepare(SELECT)?;
    let select = |id: PayloadId| -> Result<()> {
        ensure!(driver.count(&statement, &[&uuid(id)])? == 1, "a payload is gone");
        Ok(())
    };
    let ids = Ids::new(settings, payloads);
    let cold = || data.map_or(Ok(()), forget_all);
    let subjects = vec![
        Subject::new("SELECT by primary key", || {
            cold()?;
            timed(ids.next(), select)
        }),
        Subject::new("repository", || {
            cold()?;
            timed(ids.next(), |id| {
                ensure!(std::hint::black_box(repository.get(id)?).is_some(), "a payload is gone");
                Ok(())
            })
        }),
    ];
    let cache = if data.is_some() { "cold cache, " } else { "" };
    compare(
        &format!("get by id, {payloads} payloads, {cache}PostgreSQL"),
        settings.rounds,
        subjects,
    )
}

/// Gives the pages of all files back to the kernel; what the server itself keeps, it keeps.
fn forget_all(data: &Path) -> Result<()> {
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => forget_all(&entry.path())?,
            kind if kind.is_file() => forget(&entry.path())?,
            _ => {}
        }
    }
    Ok(())
}
