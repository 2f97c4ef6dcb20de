//! Objects that may be without a row: what the sweep has to ask about, across restarts.
//!
//! An object is in doubt from before its first byte goes to the bucket until a row that names it is committed, and again
//! from before the row that names it stops to until its bytes are gone. So nothing is ever in the bucket that neither a row
//! nor a doubt names, whenever the server dies; and no listing of the bucket is needed to find it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::port::Claim;
use payload_core::sync::Group;
use payload_core::{Error, Instant, ObjectId, Result};

use super::journal::{Journal, Record};

/// How many suspicions share a sync.
const GROUP_MAX: usize = 256;

/// All doubts, in memory and on the device.
#[derive(Debug)]
pub(super) struct Doubts {
    journal: Journal,
    known: Arc<Mutex<HashMap<ObjectId, Doubt>>>,
    group: Group<Record, Result<()>>,
}

/// What is known of an object in doubt.
#[derive(Clone, Copy, Debug, Default)]
struct Doubt {
    /// Rows that are about to name it.
    claims: usize,
    /// What it was charged and no row gives back.
    charged: u64,
    /// Its upload may have been begun and not finished.
    unfinished: bool,
    /// The sweep is not told of it before.
    not_before: Option<Instant>,
    /// Counts how often it was suspected.
    suspicions: u64,
    /// What that count was when the sweep was told of it.
    told: u64,
}

impl Doubts {
    /// Takes up what an earlier server was in doubt about.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let (journal, records) = Journal::open(dir)?;
        let mut known = HashMap::new();
        for record in records {
            match record {
                Record::Suspected(id) => {
                    let doubt: &mut Doubt = known.entry(id).or_default();
                    doubt.unfinished = true;
                }
                Record::Gone(id) => drop(known.remove(&id)),
            }
        }
        Ok(Self {
            journal,
            known: Arc::new(Mutex::new(known)),
            group: Group::new(GROUP_MAX),
        })
    }

    /// Suspects an object that does not exist yet, and keeps the sweep from it until the claim ends.
    pub(super) fn claim(&self, id: ObjectId) -> Result<Claim> {
        self.add_claim(id);
        let claim = self.claim_of(id);
        self.set_unfinished(id, true);
        self.write(Record::Suspected(id))?;
        Ok(claim)
    }

    /// The bucket has confirmed it.
    pub(super) fn finished(&self, id: ObjectId) {
        self.set_unfinished(id, false);
    }

    /// Whether its upload may have been begun and not finished.
    pub(super) fn is_unfinished(&self, id: ObjectId) -> bool {
        self.known.lock().get(&id).is_some_and(|doubt| doubt.unfinished)
    }

    fn set_unfinished(&self, id: ObjectId, unfinished: bool) {
        if let Some(doubt) = self.known.lock().get_mut(&id) {
            doubt.unfinished = unfinished;
        }
    }

    /// Notes what it is charged, until a row is.
    pub(super) fn charge(&self, id: ObjectId, charged: u64) {
        if let Some(doubt) = self.known.lock().get_mut(&id) {
            doubt.charged += charged;
        }
    }

    /// One more row is about to name an object that is in doubt already.
    pub(super) fn add_claim(&self, id: ObjectId) {
        let mut known = self.known.lock();
        let doubt = known.entry(id).or_default();
        doubt.suspicions += 1;
        doubt.claims += 1;
    }

    /// Ends a claim that was added when it is dropped.
    pub(super) fn claim_of(&self, id: ObjectId) -> Claim {
        Claim::new(Guard {
            known: Arc::clone(&self.known),
            id,
        })
    }

    pub(super) fn suspect(&self, id: ObjectId) -> Result<()> {
        self.known.lock().entry(id).or_default().suspicions += 1;
        self.write(Record::Suspected(id))
    }

    /// A row names it, unless somebody has come to suspect it since the sweep was told. Nothing is written: a later start asks
    /// about it once more, or finds it left out of a journal that was written anew.
    pub(super) fn trust(&self, id: ObjectId) {
        let mut known = self.known.lock();
        if known
            .get(&id)
            .is_some_and(|doubt| doubt.suspicions == doubt.told && doubt.claims == 0)
        {
            known.remove(&id);
        }
    }

    /// It is gone, and its id never comes back. Returns what it was charged and nobody has given back.
    pub(super) fn settle(&self, id: ObjectId) -> Result<u64> {
        if !self.known.lock().contains_key(&id) {
            return Ok(0);
        }
        // If that fails the doubt stays, and with it what is charged: the sweep comes by again.
        self.write(Record::Gone(id))?;
        Ok(self.known.lock().remove(&id).map_or(0, |doubt| doubt.charged))
    }

    /// Somebody has given back what it was charged.
    pub(super) fn given_back(&self, id: ObjectId, charged: u64) {
        if let Some(doubt) = self.known.lock().get_mut(&id) {
            doubt.charged = doubt.charged.saturating_sub(charged);
        }
    }

    /// Keeps the sweep from an object for a while: bytes may still come.
    pub(super) fn linger(&self, id: ObjectId, until: Instant) {
        if let Some(doubt) = self.known.lock().get_mut(&id) {
            doubt.not_before = Some(until);
        }
    }

    /// What such objects are charged.
    pub(super) fn lingering(&self) -> u64 {
        let known = self.known.lock();
        let lingering = known.values().filter(|doubt| doubt.not_before.is_some());
        lingering.map(|doubt| doubt.charged).sum()
    }

    pub(super) fn is_claimed(&self, id: ObjectId) -> bool {
        self.known.lock().get(&id).is_some_and(|doubt| doubt.claims > 0)
    }

    /// Tells the sweep those that no row is about to name.
    pub(super) fn tell(&self, now: Instant) -> Vec<ObjectId> {
        let mut known = self.known.lock();
        let is_due = |doubt: &Doubt| doubt.claims == 0 && doubt.not_before.is_none_or(|until| until <= now);
        let unclaimed = known.iter_mut().filter(|(_, doubt)| is_due(doubt));
        let told = unclaimed.map(|(id, doubt)| {
            doubt.told = doubt.suspicions;
            *id
        });
        told.collect()
    }

    fn write(&self, record: Record) -> Result<()> {
        self.group.run(record, |records| {
            let is_gone = |id: &ObjectId| records.contains(&Record::Gone(*id));
            let suspects = || self.known.lock().keys().copied().filter(|id| !is_gone(id)).collect();
            let written = self.journal.append(&records, suspects);
            let again = |error: &Error| Error::new(error.reason(), error.message().to_owned());
            records
                .iter()
                .map(|_| written.as_ref().copied().map_err(again))
                .collect()
        })
    }
}

struct Guard {
    known: Arc<Mutex<HashMap<ObjectId, Doubt>>>,
    id: ObjectId,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(doubt) = self.known.lock().get_mut(&self.id) {
            doubt.claims = doubt.claims.saturating_sub(1);
        }
    }
}
