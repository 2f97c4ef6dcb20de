//! Connections to PostgreSQL that are encrypted, and servers that are not the ones they should be.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use payload_core::port::Repository;
use payload_core::{Reason, Result};
use payload_repo::{Database, PostgresOptions, PostgresRepository};
use payload_testkit::clock::ManualClock;
use payload_testkit::process::{Authority, Postgres};
use tempfile::NamedTempFile;

/// The name that the server's certificate has; nobody looks it up.
const HOST: &str = "db.example";

fn file(authority: &Authority) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(authority.certificate().as_bytes()).unwrap();
    file
}

fn open(url: &str, ca_file: Option<&Path>) -> Result<PostgresRepository> {
    let database = Database::parse(url, ca_file)?;
    let clock = Arc::new(ManualClock::default());
    PostgresRepository::open(&database, PostgresOptions::default(), clock, Arc::new(()))
}

/// Whether the server says that the connections of its only guest are encrypted.
fn are_encrypted(server: &Postgres) -> bool {
    let answers = server.psql(
        "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'payloadd'",
    );
    match &*answers {
        "t" => true,
        "f" => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_url_decides_whether_connections_are_encrypted() {
    let authority = Authority::new();
    let believed = file(&authority);
    let server = Postgres::encrypted(&authority.identity(HOST));
    for (mode, ca_file, encrypted) in [
        ("", None, true),
        ("&sslmode=disable", None, false),
        ("&sslmode=prefer", None, true),
        ("&sslmode=require", None, true),
        ("&sslmode=verify-full", Some(believed.path()), true),
    ] {
        let url = server.tcp_url(HOST) + mode;
        let repo = open(&url, ca_file).unwrap_or_else(|error| panic!("{mode}: {error}"));
        repo.check().unwrap();
        assert_eq!(are_encrypted(&server), encrypted, "{mode}");
    }
}

#[test]
fn a_server_that_others_vouch_for_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Postgres::encrypted(&other.identity(HOST));
    let believed = file(&authority);
    refused(&server, HOST, &believed);
    open(&(server.tcp_url(HOST) + "&sslmode=require"), None).unwrap();
}

#[test]
fn a_server_of_another_name_is_refused() {
    let authority = Authority::new();
    let server = Postgres::encrypted(&authority.identity("other.example"));
    let believed = file(&authority);
    refused(&server, HOST, &believed);
    refused(&server, "127.0.0.1", &believed);
    let url = server.tcp_url("other.example") + "&sslmode=verify-full";
    open(&url, Some(believed.path())).unwrap();
}

fn refused(server: &Postgres, host: &str, believed: &NamedTempFile) {
    let url = server.tcp_url(host) + "&sslmode=verify-full";
    let error = open(&url, Some(believed.path())).err().unwrap();
    assert_eq!(error.reason(), Reason::RepositoryUnavailable);
    assert!(error.message().contains("certificate"), "{error}");
    assert_eq!(
        server.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        "0"
    );
}

#[test]
fn a_server_that_cannot_encrypt_is_refused_by_whoever_insists() {
    let server = Postgres::start();
    let error = open(&format!("{}?sslmode=require", server.url()), None).err().unwrap();
    assert_eq!(error.reason(), Reason::RepositoryUnavailable, "{error}");
    open(&format!("{}?sslmode=prefer", server.url()), None).unwrap();
}
