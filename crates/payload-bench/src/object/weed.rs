//! SeaweedFS, an S3 server in a process of its own that counts its requests.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use payload_core::Span;
use serde::Serialize;

use crate::metrics::Scrape;
use crate::wait;

const BUCKET: &str = "payloads";
const KEY: &str = "bench";
const SECRET: &str = "bench-secret";

/// What its requests are called where it counts them.
const KINDS: [&str; 6] = ["PUT", "POST", "GET", "HEAD", "LIST", "DELETE"];

/// Parts of it that listen, each on two ports.
const PARTS: [&str; 5] = ["s3", "master", "volume", "filer", "admin"];

/// Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Weed {
    child: Child,
    port: u16,
    keys: PathBuf,
}

/// How many of which kind.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Requests(BTreeMap<&'static str, f64>);

impl Weed {
    pub(crate) fn start(program: Option<&Path>, directory: &Path) -> Result<Self> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => std::env::current_exe()?.with_file_name("../tools/seaweedfs/bin/weed"),
        };
        let place = directory.join("bucket");
        std::fs::create_dir(&place)?;
        let keys = directory.join("keys");
        std::fs::write(
            &keys,
            format!("aws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"),
        )?;
        let port = free_port()?;
        let log = File::create(directory.join("seaweedfs.log"))?;
        let child = Command::new(&program)
            .args(arguments(&place, port))
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut weed = Self { child, port, keys };
        let said = directory.join("seaweedfs.log");
        wait::until("SeaweedFS to be ready", Span::from_secs(60), || {
            let log = std::fs::read_to_string(&said)?;
            if weed.child.try_wait()?.is_some() {
                bail!("SeaweedFS ended:\n{log}");
            }
            Ok(log.contains("components are running").then_some(()))
        })?;
        Ok(weed)
    }

    /// The library's client, as it is.
    pub(crate) fn client(&self) -> Result<AmazonS3> {
        // The library wants TLS even where it is not used; whoever chose its cryptography before was as right.
        let _chosen_before = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let client = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(self.endpoint())
            .with_region("us-east-1")
            .with_allow_http(true)
            .with_access_key_id(KEY)
            .with_secret_access_key(SECRET);
        Ok(client.build()?)
    }

    /// For the configuration of a server.
    pub(crate) fn section(&self) -> String {
        format!(
            "[tiers.object]\nurl = \"s3://{BUCKET}\"\nendpoint = \"{}\"\naddressing = \"path\"\ncredentials = \"{}\"\nurl_term = \"0s\"\n",
            self.endpoint(),
            self.keys.display()
        )
    }

    /// All that it had so far.
    pub(crate) fn requests(&self) -> Result<Requests> {
        let scrape = Scrape::of(&format!("http://127.0.0.1:{}", metrics_port(self.port)))?;
        let count = |kind: &'static str| {
            let label = format!("type=\"{kind}\"");
            (kind, scrape.sum("SeaweedFS_s3_request_total{", &label))
        };
        Ok(Requests(KINDS.into_iter().map(count).collect()))
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            eprintln!("warning: SeaweedFS did not end");
        }
    }
}

impl Requests {
    /// Those after `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let after = self.0.iter();
        Self(after.map(|(kind, count)| (*kind, count - before.0[kind])).collect())
    }

    /// For each of so many payloads.
    pub(crate) fn per(&self, payloads: usize) -> Self {
        let all = self.0.iter();
        Self(all.map(|(kind, count)| (*kind, count / payloads as f64)).collect())
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = self.0.iter().filter(|(_, count)| **count > 0.0);
        let words: Vec<String> = some.map(|(kind, count)| format!("{count:.2} {kind}")).collect();
        f.write_str(&words.join(", "))
    }
}

/// The first of a row of ports below those that the system gives out by itself.
fn free_port() -> Result<u16> {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    let mut rows = (20_000..26_000).step_by(20);
    rows.find(|first| (*first..=metrics_port(*first)).all(free))
        .context("no ports are free")
}

/// After all others.
fn metrics_port(first: u16) -> u16 {
    first + 10
}

fn arguments(place: &Path, first: u16) -> Vec<String> {
    let dir = place.display();
    let mut arguments = vec![
        format!("-logdir={dir}"),
        "mini".to_owned(),
        format!("-dir={dir}"),
        "-ip=127.0.0.1".to_owned(),
        "-ip.bind=127.0.0.1".to_owned(),
        format!("-s3.localSocket={dir}/s3.sock"),
        format!("-filer.localSocket={dir}/filer.sock"),
        format!("-bucket={BUCKET}"),
        "-webdav=false".to_owned(),
        "-admin.ui=false".to_owned(),
        "-s3.port.iceberg=0".to_owned(),
        "-s3.port.lance=0".to_owned(),
        format!("-metricsPort={}", metrics_port(first)),
    ];
    for (port, name) in (first..).step_by(2).zip(PARTS) {
        arguments.push(format!("-{name}.port={port}"));
        arguments.push(format!("-{name}.port.grpc={}", port + 1));
    }
    arguments
}
