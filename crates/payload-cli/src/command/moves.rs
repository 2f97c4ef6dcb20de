//! `promote`, `prefetch`, `spill`: all that can be moved are, and the first that cannot is reported.

use payload_client::{PayloadId, Result, Tier, v1};

use super::Server;
use crate::args::PromoteArgs;
use crate::failure::Failure;
use crate::json::Payloads;
use crate::output::Output;

/// As many payloads as one call takes.
const BATCH: usize = 64;

pub(super) async fn promote(server: &Server, args: &PromoteArgs, output: &Output) -> Result<(), Failure> {
    let catalog = server.catalog();
    let mut moved = Moved::new("promote", output);
    for ids in args.ids.chunks(BATCH) {
        moved.add(ids, catalog.promote(ids, args.to).await)?;
    }
    moved.finish()
}

pub(super) async fn prefetch(server: &Server, args: &PromoteArgs, output: &Output) -> Result<(), Failure> {
    let catalog = server.catalog();
    let mut moved = Moved::new("prefetch", output);
    for ids in args.ids.chunks(BATCH) {
        moved.add(ids, catalog.prefetch(ids, args.to).await)?;
    }
    moved.finish()
}

pub(super) async fn spill(server: &Server, ids: &[PayloadId], to: Tier, output: &Output) -> Result<(), Failure> {
    let catalog = server.catalog();
    let mut moved = Moved::new("spill", output);
    for ids in ids.chunks(BATCH) {
        moved.add(ids, catalog.spill(ids, to).await)?;
    }
    moved.finish()
}

/// What was done so far.
struct Moved<'a> {
    what: &'static str,
    output: &'a Output,
    payloads: Vec<v1::Payload>,
    failure: Option<Failure>,
}

impl<'a> Moved<'a> {
    fn new(what: &'static str, output: &'a Output) -> Self {
        Self {
            what,
            output,
            payloads: Vec::new(),
            failure: None,
        }
    }

    fn add(&mut self, ids: &[PayloadId], results: Result<Vec<Result<v1::Payload>>>) -> Result<(), Failure> {
        let results = results.map_err(|error| Failure::new(self.what, &error))?;
        for (id, result) in ids.iter().zip(results) {
            match result {
                Ok(payload) => self.payloads.push(payload),
                Err(error) => self.note(Failure::new(format!("{} {id}", self.what), &error)),
            }
        }
        Ok(())
    }

    /// The first failure is the command's own; others are told as they come.
    fn note(&mut self, failure: Failure) {
        match self.failure {
            None => self.failure = Some(failure),
            Some(_) => self.output.failure(&failure),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        if !self.payloads.is_empty() {
            let lines: Vec<String> = self.payloads.iter().map(line).collect();
            let document = Payloads {
                payloads: self.payloads.into_iter().map(Into::into).collect(),
            };
            self.output.print(&document, |_| lines.join("\n"))?;
        }
        self.failure.map_or(Ok(()), Err)
    }
}

fn line(payload: &v1::Payload) -> String {
    let mut tiers: Vec<v1::Tier> = payload.replicas.iter().map(v1::Replica::tier).collect();
    tiers.sort_unstable();
    let names: Vec<String> = tiers.iter().map(|tier| tier.as_str_name().to_lowercase()).collect();
    format!("{}  {}", payload.payload_id, names.join(" "))
}
