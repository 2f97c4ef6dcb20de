//! What the server counts about itself, read the way Prometheus reads it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};

/// All samples of one scrape, by name and labels.
#[derive(Debug)]
pub(crate) struct Scrape(HashMap<String, f64>);

impl Scrape {
    /// Asks a server by its `http://` address.
    pub(crate) fn of(url: &str) -> Result<Self> {
        let address = url.strip_prefix("http://").context("metrics need an http:// address")?;
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "no metrics but {answer:.80}");
        Ok(Self::parse(&answer))
    }

    fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.trim_end().rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// Zero for what has not happened yet.
    pub(crate) fn get(&self, sample: &str) -> f64 {
        self.0.get(sample).copied().unwrap_or(0.0)
    }

    /// What all samples of a name that have this label add up to.
    pub(crate) fn sum(&self, name: &str, label: &str) -> f64 {
        let of_name = self.0.iter().filter(|(sample, _)| sample.starts_with(name));
        of_name
            .filter(|(sample, _)| sample.contains(label))
            .map(|(_, value)| value)
            .sum()
    }

    /// Payloads whose commit was as durable as the disk.
    pub(crate) fn host_commits(&self) -> f64 {
        self.get("payload_commits_total{durability=\"host\"}")
    }

    /// Transactions of the catalog that waited for the disk.
    pub(crate) fn synced_transactions(&self) -> f64 {
        self.get("payload_repository_commit_seconds_count{synced=\"true\"}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let scrape = Scrape::parse("HTTP/1.1 200 OK\r\n\r\n# HELP a b\na{b=\"c d\"} 2\nplain 1.5\n");
        assert_eq!(scrape.get("a{b=\"c d\"}"), 2.0);
        assert_eq!(scrape.get("plain"), 1.5);
        assert_eq!(scrape.get("missing"), 0.0);
    }
}
