//! Many small payloads on their way together: down with one write and one sync for all of them, or one request; up from an object that
//! they share with one request.
//!
//! Each is what it would be alone: copied under its own mover, verified, and named by a change of its own row. Only the wait
//! for the device is shared. The bytes are staged in memory of the server, not in the tier that is to be emptied.

use std::sync::Arc;

use parking_lot::MutexGuard;
use payload_core::limits::INLINE_SIZE_MAX;
use payload_core::{Container, Digest, Error, Namespace, Payload, Reason, Replica, Result, Tier};

use crate::engine::Engine;
use crate::entry::Entry;
use crate::paths::Way;
use crate::replicate::Patience;
use crate::room::is_shortage;

/// How many bytes are written at a time: as much as keeps a device busy for longer than a sync takes.
const FUSED_BYTES: u64 = 16 << 20;
/// And how many payloads: the first of them waits for the last.
const FUSED_LEN: usize = 1_024;

/// One that is on its way.
struct Passenger<'a> {
    /// Its place in the batch.
    at: usize,
    entry: &'a Arc<Entry>,
    row: Arc<Payload>,
    source: Replica,
    _mover: MutexGuard<'a, ()>,
}

/// What is copied in one go: a payload, or many small ones of a namespace or of an object. The numbers are places in the batch.
pub(crate) type Ride = Vec<usize>;

/// What those who go together have in common.
#[derive(PartialEq, Eq)]
enum Party {
    /// They are written into one container.
    Of(Namespace),
    /// They are read out of one object.
    From(Container),
}

impl Party {
    fn of(entry: &Entry, row: &Payload, to: Tier) -> Option<Self> {
        match to {
            _ if row.size > INLINE_SIZE_MAX => None,
            // Memory asks for no company; an object does.
            Tier::Ram => {
                let live = entry.live();
                let source = live.readable().min_by_key(|replica| replica.tier())?.location;
                (!source.tier().is_local() && source.is_shared()).then(|| Self::From(source.container()))
            }
            Tier::Disk | Tier::Object => Some(Self::Of(row.namespace.clone())),
        }
    }
}

/// Cuts a batch into what is copied in one go. Those that are copied alone keep their order.
pub(crate) fn rides(batch: &[Arc<Entry>], to: Tier) -> Vec<Ride> {
    let mut rides: Vec<Ride> = Vec::new();
    let mut open: Vec<(Party, usize, u64)> = Vec::new();
    for (at, entry) in batch.iter().enumerate() {
        let row = entry.row();
        let Some(party) = Party::of(entry, &row, to) else {
            rides.push(vec![at]);
            continue;
        };
        let found = open.iter_mut().find(|(other, ride, bytes)| {
            *other == party && *bytes + row.size <= FUSED_BYTES && rides[*ride].len() < FUSED_LEN
        });
        match found {
            Some((_, ride, bytes)) => {
                rides[*ride].push(at);
                *bytes += row.size;
            }
            None => {
                open.retain(|(other, ..)| *other != party);
                open.push((party, rides.len(), row.size));
                rides.push(vec![at]);
            }
        }
    }
    rides
}

impl Engine {
    /// Makes sure that each payload of a ride has a replica in `to`; the results are in its order, and say whether one was
    /// added.
    pub(crate) fn add_replicas(
        &self,
        batch: &[Arc<Entry>],
        ride: &[usize],
        to: Tier,
        patience: Patience,
        why: &'static str,
    ) -> Vec<Result<bool>> {
        let alone = |at: usize| self.add_replica(&batch[at], to, patience, why);
        if let [at] = ride {
            return vec![alone(*at)];
        }
        let mut results: Vec<Option<Result<bool>>> = ride.iter().map(|_| None).collect();
        let passengers = self.board(batch, ride, to, &mut results);
        self.carry(&passengers, to, why, &mut results);
        drop(passengers);
        let each = results.into_iter().zip(ride);
        // Those that somebody else was copying, or that did not make it: what is wrong with one shows when it is alone.
        each.map(|(result, at)| result.unwrap_or_else(|| alone(*at))).collect()
    }

    /// Who comes along: whoever is not being copied already, and has something to be copied. Nobody is waited for, because
    /// two who wait for each other's payloads would do that for ever.
    fn board<'a>(
        &self,
        batch: &'a [Arc<Entry>],
        ride: &[usize],
        to: Tier,
        results: &mut [Option<Result<bool>>],
    ) -> Vec<Passenger<'a>> {
        let mut passengers = Vec::with_capacity(ride.len());
        for (at, place) in ride.iter().enumerate() {
            let entry = &batch[*place];
            let Some(mover) = entry.try_mover() else { continue };
            let Ok(moment) = self.leasing_moment(entry) else {
                continue;
            };
            let live = entry.live();
            if live.has_ready(to) {
                results[at] = Some(Ok(false));
                continue;
            }
            let Ok(source) = live.leasable(moment).cloned() else {
                continue;
            };
            passengers.push(Passenger {
                at,
                entry,
                row: Arc::clone(&live.row),
                source,
                _mover: mover,
            });
        }
        passengers
    }

    fn carry(&self, passengers: &[Passenger<'_>], to: Tier, why: &'static str, results: &mut [Option<Result<bool>>]) {
        let Some(first) = passengers.first() else { return };
        let began = self.now();
        let listed = passengers
            .iter()
            .map(|one| self.transfers.begin(&one.row, one.source.tier(), to, why, began));
        let running: Vec<_> = listed.collect();
        let bytes = passengers.iter().map(|one| one.row.size).sum();
        let way = Way::between(first.source.tier(), to);
        let Ok(place) = self.enter_path(way, bytes, Patience::InLine) else {
            return;
        };
        let Ok(target) = self.tier(to) else { return };
        let read = self.read_whole(passengers);
        let each = passengers.iter().zip(&running).zip(&read);
        let sound: Vec<_> = each
            .filter_map(|((one, running), read)| Some((one, running, read.as_ref().ok()?)))
            .collect();
        let payloads: Vec<&[u8]> = sound.iter().map(|(_, _, (bytes, _))| &bytes[..]).collect();
        let stored = target.store_all(&first.row.namespace, &payloads);
        // The rows wait for no device that others could use meanwhile.
        drop(place);
        for ((one, running, (_, digest)), placed) in sound.into_iter().zip(stored) {
            // Who goes up alone waits in line for room; what is refused on the way down would be refused again.
            if to == Tier::Ram && placed.as_ref().is_err_and(is_shortage) {
                continue;
            }
            let result = placed.and_then(|placed| self.write_added(one.entry, &one.source, placed, *digest, running));
            self.metrics.moved(
                one.source.tier(),
                to,
                one.row.size,
                self.now().since(began),
                result.is_ok(),
            );
            self.note_copy(one.entry, result.as_ref().err());
            results[one.at] = Some(result.map(|()| true));
        }
    }

    /// Everybody's bytes, if they are those that were committed.
    fn read_whole(&self, passengers: &[Passenger<'_>]) -> Vec<Result<(Vec<u8>, Digest)>> {
        let mut read: Vec<_> = passengers.iter().map(|_| None).collect();
        for tier in Tier::ALL {
            let from = || {
                passengers
                    .iter()
                    .enumerate()
                    .filter(|(_, one)| one.source.tier() == tier)
            };
            let wanted: Vec<_> = from().map(|(_, one)| (one.source.location, one.row.size)).collect();
            let Ok(store) = self.tier(tier) else { continue };
            if wanted.is_empty() {
                continue;
            }
            for ((at, one), bytes) in from().zip(store.read_all(&wanted)) {
                read[at] = Some(bytes.and_then(|bytes| one.check(bytes)));
            }
        }
        let unread = || {
            Err(Error::new(
                Reason::TierNotConfigured,
                "the tier of the bytes is not here",
            ))
        };
        read.into_iter().map(|read| read.unwrap_or_else(unread)).collect()
    }
}

impl Passenger<'_> {
    fn check(&self, bytes: Vec<u8>) -> Result<(Vec<u8>, Digest)> {
        let digest = Digest::of(&bytes);
        match self.row.digest {
            Some(committed) if committed != digest => Err(Error::new(
                Reason::BytesCorrupt,
                "the bytes do not have the digest they were committed with",
            )),
            _ => Ok((bytes, digest)),
        }
    }
}
