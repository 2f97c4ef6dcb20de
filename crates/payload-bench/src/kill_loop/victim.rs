//! A process that works until it is told to stop, or killed: commits, reads back, deletes, and tells of each.

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Context, Result};
use payload_client::v1;

use super::journal::{Attempt, How, Line, Place};
use super::model::PACKED_MAX;
use super::stubborn::{INLINE_MAX, Seen, Stubborn};
use crate::content::{Content, Dice};
use crate::wait::is_told_to_stop;

/// What is written into an allocation, each kind as often as another: nothing, what would also travel inside a message,
/// what goes through a stage and is packed, and what has a segment or a file of its own.
const PUBLISHED: [RangeInclusive<u64>; 4] = [
    0..=0,
    1..=INLINE_MAX,
    INLINE_MAX + 1..=PACKED_MAX,
    PACKED_MAX + 1..=4 << 20,
];
/// What travels inside a message: small ones more often than large ones, and nothing at all now and then.
const PUT: [RangeInclusive<u64>; 4] = [0..=0, 1..=100, 1..=4 << 10, 1..=INLINE_MAX];
/// With so many payloads, some must go first.
const OWN_MAX: usize = 100;

struct Victim {
    name: String,
    requests: u64,
    dice: Dice,
    server: Stubborn,
    own: Vec<(String, Content)>,
}

/// The process's main. It stops when its standard input ends.
pub(crate) fn run(endpoint: &Path, name: &str, seed: u64) -> Result<()> {
    let mut victim = Victim {
        name: name.to_owned(),
        requests: 0,
        dice: Dice::new(seed),
        server: Stubborn::new(endpoint)?,
        own: Vec::new(),
    };
    while !is_told_to_stop()? {
        victim.act()?;
    }
    Ok(())
}

impl Victim {
    fn act(&mut self) -> Result<()> {
        match self.dice.below(100) {
            _ if self.own.len() >= OWN_MAX => self.delete(),
            0..45 => self.put(),
            45..65 => self.publish(),
            65..88 => self.verify(),
            _ => self.delete(),
        }
    }

    fn put(&mut self) -> Result<()> {
        let attempt = self.attempt(&PUT, How::Put);
        self.commit(&attempt)
    }

    /// Allocates, writes in place, commits.
    fn publish(&mut self) -> Result<()> {
        let mut attempt = self.attempt(&PUBLISHED, How::Put);
        let request = v1::AllocateRequest {
            request_id: format!("{}-a", attempt.request_id),
            size: attempt.content.size,
            tier: attempt.place.tier(),
            durability: attempt.place.durability(),
            ..v1::AllocateRequest::default()
        };
        let Some(allocation) = self.server.allocate(&request, attempt.content)? else {
            return Ok(());
        };
        attempt.how = How::Commit {
            payload: allocation.payload_id,
            token: allocation.allocation_token,
        };
        self.commit(&attempt)
    }

    fn commit(&mut self, attempt: &Attempt) -> Result<()> {
        tell(&Line::Trying(attempt.clone()))?;
        match self.server.commit(attempt)? {
            Ok(payload) => {
                tell(&Line::Committed {
                    payload: payload.clone(),
                })?;
                self.own.push((payload, attempt.content));
                Ok(())
            }
            Err(error) => tell(&Line::Refused {
                why: format!("{}: {error}", error.reason().as_str()),
            }),
        }
    }

    fn verify(&mut self) -> Result<()> {
        let Some((payload, content)) = self.some_own().map(|index| self.own[index].clone()) else {
            return Ok(());
        };
        let inline_max = if self.dice.below(2) == 0 { 0 } else { INLINE_MAX as u32 };
        match self.server.verify(&payload, content, inline_max)? {
            Seen::Right => tell(&Line::Verified),
            Seen::Wrong(what) => tell(&Line::Wrong { what }),
            Seen::Refused(error) => tell(&Line::Wrong {
                what: format!("{payload} was acknowledged and cannot be read: {error}"),
            }),
        }
    }

    fn delete(&mut self) -> Result<()> {
        let Some(index) = self.some_own() else { return Ok(()) };
        let (payload, _) = self.own.swap_remove(index);
        tell(&Line::Deleting {
            payload: payload.clone(),
        })?;
        self.server.delete(&payload)?;
        tell(&Line::Deleted)
    }

    fn some_own(&mut self) -> Option<usize> {
        let count = self.own.len() as u64;
        (count > 0).then(|| self.dice.below(count) as usize)
    }

    fn attempt(&mut self, kinds: &[RangeInclusive<u64>], how: How) -> Attempt {
        self.requests += 1;
        let kind = &kinds[self.dice.below(kinds.len() as u64) as usize];
        Attempt {
            request_id: format!("{}-{}", self.name, self.requests),
            content: Content {
                seed: self.dice.roll(),
                size: kind.start() + self.dice.below(kind.end() - kind.start() + 1),
            },
            place: match self.dice.below(3) {
                0 => Place::DiskHost,
                1 => Place::RamHost,
                _ => Place::RamVolatile,
            },
            how,
        }
    }
}

fn tell(line: &Line) -> Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    // One write: a line is in the pipe whole or not at all.
    std::io::stdout().lock().write_all(&text).context("the driver is gone")
}
