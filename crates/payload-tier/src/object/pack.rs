//! Objects that hold many small payloads: written once, with all of them, and removed when the last one is gone.

use payload_core::port::{Content, Placed};
use payload_core::{Error, Location, ObjectId, Result};

use super::ObjectTier;
use crate::{index, length, room};

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
