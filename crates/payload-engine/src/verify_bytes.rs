//! Verify bytes: read every byte of a payload's replicas, and mend what is damaged from what is not.

use std::sync::Arc;

use payload_core::listing::{Filter, ListQuery, Position};
use payload_core::{
    Digest, Error, ErrorKind, Namespace, Payload, PayloadId, PayloadRef, Reason, Replica, ReplicaState, Result,
    StateKind, Tier,
};

use crate::engine::Engine;
use crate::entry::Entry;
use crate::replicate::Patience;

/// How many payloads are listed at a time.
const PAGE: u32 = 100;

/// What reading a payload's bytes has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBytes {
    /// Of which payload.
    pub payload: PayloadId,
    /// How many bytes were read.
    pub bytes: u64,
    /// The replicas that had not the bytes that were committed.
    pub damages: Vec<Damage>,
}

/// A replica that was damaged or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it was.
    pub tier: Tier,
    /// What became of it.
    pub fate: Fate,
    /// What was wrong with it.
    pub message: String,
}

/// Some of the payloads whose bytes can be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyPage {
    /// In order of creation; there may be none although there is a next page.
    pub payloads: Vec<PayloadId>,
    /// The next page comes after this one; absent on the last.
    pub next: Option<PayloadId>,
}

/// What became of a damaged replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was made again from a sound one.
    Mended,
    /// It was given up, a sound one is left, and there was no room to make it again.
    Dropped,
    /// It was the last one: the payload is lost.
    Lost,
}

impl Engine {
    /// Reads all replicas of a payload that this node has. A damaged one leaves the row, and is made again from a sound one.
    pub fn verify_bytes(&self, namespace: &Namespace, payload: &PayloadRef) -> Result<VerifiedBytes> {
        let id = self.resolve(namespace, payload)?;
        let entry = self.entry(namespace, id)?;
        entry.row().state.check_leasable(self.wall())?;
        self.verify_replicas(&entry)
    }

    /// The next few payloads of a namespace whose bytes can be verified, in order of creation.
    pub fn to_verify(&self, namespace: &Namespace, after: Option<PayloadId>) -> Result<VerifyPage> {
        self.check_namespace(namespace)?;
        let page = self.repository().list(&ListQuery {
            filter: Filter {
                state: Some(StateKind::Active),
                ..Filter::default()
            },
            after: after.map(Position::by_creation),
            ..ListQuery::all(namespace.clone(), PAGE)
        })?;
        Ok(VerifyPage {
            payloads: page.rows.iter().map(|row| row.id).collect(),
            next: page.next.map(|next| next.id),
        })
    }

    pub(crate) fn verify_replicas(&self, entry: &Arc<Entry>) -> Result<VerifiedBytes> {
        let row = entry.row();
        let own = |replica: &&Replica| replica.node == self.settings.node && replica.state == ReplicaState::Ready;
        let mut verified = VerifiedBytes {
            payload: row.id,
            bytes: 0,
            damages: Vec::new(),
        };
        let mut damaged = Vec::new();
        for replica in row.replicas.iter().filter(own) {
            verified.bytes += row.size;
            if let Err(error) = self.read_through(entry, &row, replica)? {
                damaged.push((replica, error));
            }
        }
        // All of them leave the row before one is made again: the sound ones are what is left then.
        let mut given_up = Vec::new();
        for (replica, error) in damaged {
            let (tier, message) = (replica.tier(), error.message().to_owned());
            tracing::error!(payload = %row.id, replica = %replica.id, %error, "a replica is damaged");
            match self.replica_lost(entry, replica.id, error) {
                Ok(()) => given_up.push((tier, message)),
                Err(error) if error.kind() == ErrorKind::DataLoss => given_up.push((tier, message)),
                Err(error) => return Err(error),
            }
        }
        let damages = given_up.into_iter().map(|(tier, message)| Damage {
            tier,
            fate: self.mend(entry, tier),
            message,
        });
        verified.damages = damages.collect();
        Ok(verified)
    }

    fn mend(&self, entry: &Arc<Entry>, tier: Tier) -> Fate {
        if entry.row().state.kind() == StateKind::Lost {
            return Fate::Lost;
        }
        let mended = self.add_replica(entry, tier, Patience::None, "repair");
        self.consider(entry);
        match mended {
            Ok(_) => Fate::Mended,
            Err(error) => {
                tracing::warn!(payload = %entry.id, %tier, %error, "could not make a damaged replica again");
                Fate::Dropped
            }
        }
    }

    /// Whether a replica has the payload's bytes; the outer error says that it could not be found out.
    fn read_through(&self, entry: &Entry, row: &Payload, replica: &Replica) -> Result<Result<()>> {
        let read = match row.size {
            0 => Ok(Digest::of(&[])),
            size => self.tier(replica.tier())?.digest(&replica.location, size),
        };
        let found = match read {
            Ok(digest) if row.digest.is_none_or(|committed| committed == digest) => return Ok(Ok(())),
            Ok(digest) => Error::new(
                Reason::BytesCorrupt,
                format!("the bytes have digest {digest}, which is not what was committed"),
            ),
            Err(error) if error.kind() == ErrorKind::DataLoss => error,
            Err(error) => return Err(error),
        };
        // It may have been dropped, or the payload deleted, while it was read.
        let now = entry.row();
        let stays = now
            .replica(replica.id)
            .is_some_and(|same| same.location == replica.location);
        Ok(if stays { Err(found) } else { Ok(()) })
    }
}
