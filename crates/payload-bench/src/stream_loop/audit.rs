//! The end of a run: everybody has caught up, and the streams must hold what was acknowledged, once and in order.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use payload_client::{ClientOptions, Streams, v1};

use super::journal::{MADE, Name, RAW};
use super::model::Facts;
use super::worker::{patiently, stream};
use crate::crew::runtime;
use crate::server::Server;

/// Entries in one read.
const PAGE: u32 = 1_000;

/// What the streams hold.
pub(super) struct Streamed {
    pub(super) raw: Vec<Name>,
    pub(super) made: Vec<Name>,
}

/// Reads both streams from their beginning.
pub(super) fn read(server: &Server) -> Result<Streamed> {
    let streams = Streams::new(server.endpoint(), &ClientOptions::default());
    runtime()?.block_on(async {
        Ok(Streamed {
            raw: read_all(&streams, RAW).await?,
            made: read_all(&streams, MADE).await?,
        })
    })
}

async fn read_all(streams: &Streams, name: &str) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    loop {
        let request = v1::ReadStreamRequest {
            start: Some(v1::ReadStart {
                start: Some(v1::read_start::Start::Offset(names.len() as u64)),
            }),
            limit: PAGE,
            ..v1::ReadStreamRequest::default()
        };
        let stream = stream(name);
        let page = patiently(|| streams.read(&stream, request.clone())).await?;
        for entry in page.entries {
            let expected = names.len() as u64;
            ensure!(
                entry.offset == expected,
                "{name}: offset {} and not {expected}",
                entry.offset
            );
            let tag = entry.tags.first().context("an entry without a tag")?;
            names.push(tag.parse()?);
        }
        if names.len() as u64 >= page.head_offset {
            return Ok(names);
        }
    }
}

impl Streamed {
    /// What is wrong about them, for those who were told the facts.
    pub(super) fn faults(&self, facts: &Facts) -> Vec<String> {
        let mut faults = Vec::new();
        let at: HashMap<Name, u64> = self.raw.iter().copied().zip(0..).collect();
        if at.len() != self.raw.len() {
            faults.push(format!("duplicated: {} entries of raw", self.raw.len() - at.len()));
        }
        for (name, offset) in &facts.appended {
            match at.get(name) {
                None => faults.push(format!("lost: {name} was acknowledged")),
                Some(found) if offset.is_some_and(|offset| offset != *found) => {
                    faults.push(format!("moved: {name} is at {found}"));
                }
                Some(_) => {}
            }
        }
        for (offset, name) in &facts.places {
            if self.raw.get(*offset as usize) != Some(name) {
                faults.push(format!("replaced: {name} was seen at {offset}"));
            }
        }
        faults.extend(self.out_of_order());
        let skipped = (0..self.raw.len() as u64).filter(|offset| !facts.shared.contains_key(offset));
        faults.extend(skipped.map(|offset| format!("skipped: the members never took {offset}")));
        if self.made != self.raw {
            let same = self
                .made
                .iter()
                .zip(&self.raw)
                .take_while(|(made, raw)| made == raw)
                .count();
            faults.push(format!("made differs from raw from offset {same} on"));
        }
        faults
    }

    /// The numbers of each life of a producer go up by one.
    fn out_of_order(&self) -> Vec<String> {
        let mut last: HashMap<(u64, u64), u64> = HashMap::new();
        let mut faults = Vec::new();
        for name in &self.raw {
            let last = last.entry((name.slot, name.life)).or_default();
            if name.number != *last + 1 {
                faults.push(format!("out of order: {name} comes after {last}"));
            }
            *last = name.number;
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(life: u64, number: u64) -> Name {
        Name { slot: 0, life, number }
    }

    fn faults<T>(raw: &[Name], made: &[Name], tell: impl Fn(&mut Facts) -> T) -> Vec<String> {
        let mut facts = Facts::default();
        facts.shared = (0..raw.len() as u64).map(|offset| (offset, 1)).collect();
        tell(&mut facts);
        let streamed = Streamed {
            raw: raw.to_vec(),
            made: made.to_vec(),
        };
        streamed.faults(&facts)
    }

    #[test]
    fn each_kind_of_fault_is_found() {
        let (a, b, c) = (name(1, 1), name(1, 2), name(2, 1));
        let good = [a, c, b];
        let nothing = |_: &mut Facts| {};
        assert!(faults(&good, &good, |facts| facts.appended.insert(b, Some(2))).is_empty());
        let found = |faults: Vec<String>| faults.join("; ");
        assert_eq!(
            found(faults(&[a, c], &[a, c], |facts| facts.appended.insert(b, None))),
            "lost: 0.1.2 was acknowledged"
        );
        assert_eq!(
            found(faults(&good, &good, |facts| facts.appended.insert(b, Some(1)))),
            "moved: 0.1.2 is at 2"
        );
        assert_eq!(
            found(faults(&good, &good, |facts| facts.places.insert(0, b))),
            "replaced: 0.1.2 was seen at 0"
        );
        assert_eq!(
            found(faults(&[b, a], &[b, a], nothing)),
            "out of order: 0.1.2 comes after 0; out of order: 0.1.1 comes after 2"
        );
        assert_eq!(
            found(faults(&good, &good, |facts| facts.shared.remove(&1))),
            "skipped: the members never took 1"
        );
        assert_eq!(
            found(faults(&good, &[a, c], nothing)),
            "made differs from raw from offset 2 on"
        );
        assert!(found(faults(&[a, a], &[a, a], nothing)).starts_with("duplicated: 1 entries of raw"));
    }
}
