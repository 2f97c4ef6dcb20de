//! Objects that may be without a row: what the sweep has to ask about, across restarts.
//!
//! An object is in doubt from before its first byte goes to the bucket until a row that names it is committed, and again
//! from before the row that names it stops to until its bytes are gone. So nothing is ever in the bucket that neither a row
//! nor a doubt names, whenever the server dies; and no listing of the bucket is needed to find it.
//!
//! A doubt can have to wait: requests that were signed for the object may still come, and an upload that was given up too.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::port::{Claim, Left};
use payload_core::sync::Group;
use payload_core::{Error, Instant, ObjectId, Result, Span};

use super::journal::{Journal, Record, Suspect};

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
    /// How many seconds that was from the moment it was suspected.
    wait: u32,
    /// What the wait is for, if it is for somebody's request.
    left: Option<Left>,
    /// What was stored so far into an allocation that has ended is gone.
    emptied: bool,
    /// Counts how often it was suspected.
    suspicions: u64,
    /// What that count was when the sweep was told of it.
    told: u64,
}

impl Doubts {
    /// Takes up what an earlier server was in doubt about.
    pub(super) fn open(dir: &Path, now: Instant) -> Result<Self> {
        let (journal, records) = Journal::open(dir)?;
        let mut known = HashMap::new();
        for record in records {
            match record {
                Record::Suspected(Suspect { id, wait }) => {
                    let doubt: &mut Doubt = known.entry(id).or_default();
                    doubt.unfinished = true;
                    // What was noted last is what was known best: an allocation waits for longer than what came of it.
                    doubt.not_before = None;
                    doubt.wait(wait, now);
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
        self.write(Record::Suspected(Suspect { id, wait: 0 }))?;
        Ok(claim)
    }

    /// The same for one that somebody else is to store. The row that will name it need not outlive the host, but the request to store it
    /// does: a later start leaves the object alone for as long as `wait`.
    pub(super) fn claim_for_another(&self, id: ObjectId, wait: Span) -> Result<Claim> {
        let wait = seconds(wait);
        self.add_claim(id);
        let claim = self.claim_of(id);
        if let Some(doubt) = self.known.lock().get_mut(&id) {
            doubt.wait = wait;
        }
        self.write(Record::Suspected(Suspect { id, wait }))?;
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

    /// Suspects an object that is there, and keeps the sweep from it for as long as what is left takes.
    ///
    /// The claim lasts until it is known whether the row stops to name it, so that nobody comes to trust it before.
    pub(super) fn suspect(&self, id: ObjectId, left: Left, wait: Span, now: Instant) -> Result<Claim> {
        let wait = seconds(wait);
        let mut known = self.known.lock();
        let doubt = known.entry(id).or_default();
        doubt.suspicions += 1;
        doubt.claims += 1;
        doubt.left = Some(left);
        doubt.wait(wait, now);
        drop(known);
        let claim = self.claim_of(id);
        self.write(Record::Suspected(Suspect { id, wait }))?;
        Ok(claim)
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
            doubt.not_before = doubt.not_before.max(Some(until));
        }
    }

    /// Whether it has to be left alone now. Then what it is charged is not given back before it is gone.
    pub(super) fn keep_charged(&self, id: ObjectId, charged: u64, now: Instant) -> bool {
        let mut known = self.known.lock();
        let Some(doubt) = known.get_mut(&id).filter(|doubt| doubt.is_waiting(now)) else {
            return false;
        };
        doubt.charged = doubt.charged.max(charged);
        true
    }

    /// Whether the object has to be left alone now.
    pub(super) fn is_waiting(&self, id: ObjectId, now: Instant) -> bool {
        self.known.lock().get(&id).is_some_and(|doubt| doubt.is_waiting(now))
    }

    /// Whether nobody reads what was stored so far, although more may come.
    pub(super) fn is_to_be_emptied(&self, id: ObjectId) -> bool {
        self.known.lock().get(&id).is_some_and(Doubt::is_to_be_emptied)
    }

    pub(super) fn emptied(&self, id: ObjectId) {
        if let Some(doubt) = self.known.lock().get_mut(&id) {
            doubt.emptied = true;
        }
    }

    /// What such objects are charged.
    pub(super) fn lingering(&self) -> u64 {
        let known = self.known.lock();
        let lingering = known.values().filter(|doubt| doubt.not_before.is_some());
        lingering.map(|doubt| doubt.charged).sum()
    }

    /// How many the sweep is told of only later.
    pub(super) fn waiting(&self, now: Instant) -> u64 {
        let known = self.known.lock();
        known.values().filter(|doubt| doubt.is_waiting(now)).count() as u64
    }

    pub(super) fn is_claimed(&self, id: ObjectId) -> bool {
        self.known.lock().get(&id).is_some_and(|doubt| doubt.claims > 0)
    }

    /// Tells the sweep those that no row is about to name.
    pub(super) fn tell(&self, now: Instant) -> Vec<ObjectId> {
        let mut known = self.known.lock();
        let is_due = |doubt: &Doubt| doubt.claims == 0 && (!doubt.is_waiting(now) || doubt.is_to_be_emptied());
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
            let suspects = || {
                let known = self.known.lock();
                let left = known.iter().filter(|(id, _)| !is_gone(id));
                left.map(|(id, doubt)| doubt.suspect(*id)).collect()
            };
            let written = self.journal.append(&records, suspects);
            let again = |error: &Error| Error::new(error.reason(), error.message().to_owned());
            records
                .iter()
                .map(|_| written.as_ref().copied().map_err(again))
                .collect()
        })
    }
}

impl Doubt {
    fn wait(&mut self, seconds: u32, now: Instant) {
        self.wait = seconds;
        if seconds > 0 {
            let until = now.after(Span::from_secs(u64::from(seconds)));
            self.not_before = self.not_before.max(Some(until));
        }
    }

    fn is_waiting(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|until| until > now)
    }

    fn is_to_be_emptied(&self) -> bool {
        self.left == Some(Left::Writer) && !self.emptied
    }

    const fn suspect(&self, id: ObjectId) -> Suspect {
        Suspect { id, wait: self.wait }
    }
}

fn seconds(span: Span) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
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
