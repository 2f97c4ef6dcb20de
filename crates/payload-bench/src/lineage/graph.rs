//! The graph that queries go through: each payload made from two or three of those shortly before it, at random.

use anyhow::Result;
use payload_core::port::Repository;
use payload_core::{Actor, ChangeSet, Durability, Edge, PayloadId, Principal};

use crate::rows::{self, BATCH, NOW, id, mix};

/// Of a hundred payloads, so many have three parents and the others two: ten steps lead to about ten thousand.
const THREE_PARENTS: u64 = 38;
/// How far before a payload its parents are at most: ten steps do not lead to where the graph begins.
const REACH: u64 = 40_000;

/// What was made.
#[derive(Debug)]
pub(crate) struct Graph {
    payloads: u64,
}

impl Graph {
    /// Puts payloads with lineage until there are so many edges.
    pub(crate) fn random(repository: &dyn Repository, edges: usize) -> Result<Self> {
        rows::claim(repository)?;
        let (mut payloads, mut made) = (0, 0);
        while made < edges {
            let mut set = ChangeSet::new(Vec::new(), Durability::Volatile);
            for number in payloads..payloads + BATCH {
                set.changes.push(rows::created(number, Vec::new()));
                set.edges.extend(parents(number).map(|parent| edge(number, parent)));
            }
            payloads += BATCH;
            made += set.edges.len();
            rows::commit(repository, set)?;
        }
        Ok(Self { payloads })
    }

    /// All payloads.
    pub(crate) fn youngest_first(&self) -> impl Iterator<Item = PayloadId> {
        (0..self.payloads).rev().map(id)
    }
}

fn parents(number: u64) -> impl Iterator<Item = u64> {
    let count = match number {
        0 => 0,
        _ => 2 + u64::from(mix(number) % 100 < THREE_PARENTS),
    };
    (0..count).map(move |parent| number - 1 - mix(number * 4 + parent) % number.min(REACH))
}

fn edge(child: u64, parent: u64) -> Edge {
    Edge {
        child: id(child),
        parent: id(parent),
        operation: "derive".parse().expect("is a word"),
        role: "input".parse().expect("is a word"),
        parameters: b"{\"width\": 640, \"height\": 480}"[..].into(),
        actor: Actor::from(&Principal::loopback()),
        at: NOW,
    }
}
