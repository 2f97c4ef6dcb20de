//! Objects that hold many small payloads: written once, with all of them, and removed when the last one is gone.

use payload_core::port::{Content, Placed, TierStore};
use payload_core::{Error, Location, ObjectId, Result};

use super::ObjectTier;
use crate::{index, length, room};

/// Bytes between two payloads that are read with them rather than with a request more.
const GAP: u64 = 256 << 10;

/// Whether the second of two payloads, in order of their places, is read together with the first.
fn are_close((a, size): &(Location, u64), (b, _): &(Location, u64)) -> bool {
    let same = a.container() == b.container() && a.is_shared();
    same && b.offset().saturating_sub(a.offset() + size) <= GAP
}

impl ObjectTier {
    /// One object with all the bytes, one payload after the other; each gets its place, or all get the same refusal.
    pub(super) fn pack(&self, payloads: &[&[u8]]) -> Vec<Result<Placed>> {
        let again = |error: &Error| Err(Error::new(error.reason(), error.message().to_owned()));
        match self.put_pack(payloads) {
            Ok(pack) => self.places(pack, payloads).map(Ok).collect(),
            Err(error) => payloads.iter().map(|_| again(&error)).collect(),
        }
    }

    fn put_pack(&self, payloads: &[&[u8]]) -> Result<ObjectId> {
        let size = payloads.iter().map(|bytes| room(length(bytes))).sum();
        let mut content = Vec::with_capacity(index(size));
        for bytes in payloads {
            content.extend_from_slice(bytes);
            let end = content.len() - bytes.len() + index(room(length(bytes)));
            content.resize(end, 0);
        }
        let pack = self.ids.object();
        let hold = self.budget.take(size)?;
        let claim = self.doubts.claim(pack)?;
        self.put_into(pack, Content::Bytes(&content))?;
        hold.keep();
        self.doubts.charge(pack, size);
        // Each payload has a claim of its own from here on; nothing sweeps in between that has not been told of the pack.
        payloads.iter().for_each(|_| self.doubts.add_claim(pack));
        drop(claim);
        Ok(pack)
    }

    /// Reads what lies close to each other in a pack with one request for all of it.
    pub(super) fn read_together(&self, wanted: &[(Location, u64)]) -> Vec<Result<Vec<u8>>> {
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_unstable_by_key(|at| (wanted[*at].0.container(), wanted[*at].0.offset()));
        let mut results: Vec<Option<Result<Vec<u8>>>> = wanted.iter().map(|_| None).collect();
        for run in order.chunk_by(|a, b| are_close(&wanted[*a], &wanted[*b])) {
            let start = wanted[run[0]].0;
            let end = run.iter().map(|at| wanted[*at].0.offset() + wanted[*at].1).max();
            let size = end.unwrap_or(start.offset()) - start.offset();
            let mut bytes = Vec::new();
            let read = self.read(&start, size, &mut bytes);
            for at in run {
                let (location, size) = &wanted[*at];
                let from = index(location.offset() - start.offset());
                results[*at] = Some(match &read {
                    Ok(()) => Ok(bytes[from..from + index(*size)].to_vec()),
                    Err(error) => Err(Error::new(error.reason(), error.message().to_owned())),
                });
            }
        }
        results.into_iter().flatten().collect()
    }

    /// Places whose claims have been taken.
    fn places(&self, pack: ObjectId, payloads: &[&[u8]]) -> impl Iterator<Item = Placed> {
        let mut offset = 0;
        payloads.iter().map(move |bytes| {
            let charged = room(length(bytes));
            let location = Location::ObjectPack { pack, offset };
            offset += charged;
            Placed {
                location,
                charged,
                claim: self.doubts.claim_of(pack),
            }
        })
    }
}
