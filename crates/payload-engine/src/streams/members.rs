//! Members: one at a time follows a group on this server, and its generation shuts out whoever followed it before.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::stream::{GroupJoin, GroupName, Offset, Start, StreamChange, StreamRef, StreamRefusal};
use payload_core::{Reason, Result, StreamId};

use super::wakes::Wakes;
use crate::engine::Engine;

/// How often a group is taken over that others take over at the same time.
const ATTEMPTS: usize = 8;

/// The groups that somebody follows, in which generation as far as this server has heard.
pub(super) type Followed = Mutex<HashMap<(StreamId, GroupName), Option<u64>>>;

/// The right to follow a group, until it is dropped; then the next one who waits gets it.
pub struct Member {
    /// To commit with.
    pub generation: u64,
    /// Where the group is.
    pub offset: Offset,
    _seat: Seat,
}

struct Seat {
    key: (StreamId, GroupName),
    followed: Arc<Followed>,
    wakes: Arc<Wakes>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.followed.lock().remove(&self.key);
        self.wakes.wake(self.key.0);
    }
}

impl Engine {
    /// Takes a group over, and makes it if need be; `None` while somebody else follows it here. Whoever watches the
    /// stream is woken when that has ended. A member on another server is shut out by the generation.
    pub fn join_group(&self, stream: &StreamRef, group: &GroupName, start: Start) -> Result<Option<Member>> {
        let row = self.find_stream(stream)?;
        let key = (row.id, group.clone());
        match self.streams.followed.lock().entry(key.clone()) {
            Entry::Occupied(_) => return Ok(None),
            Entry::Vacant(place) => place.insert(None),
        };
        let seat = Seat {
            key,
            followed: Arc::clone(&self.streams.followed),
            wakes: Arc::clone(&self.streams.wakes),
        };
        for _ in 0..ATTEMPTS {
            let known = self.repository().group(row.id, group)?;
            let start = match &known {
                Some(group) => group.offset,
                None => self.start_offset(&row, start)?,
            };
            let generation = known.map_or(0, |group| group.generation) + 1;
            let join = GroupJoin {
                stream: StreamRef {
                    incarnation: Some(row.id),
                    ..stream.clone()
                },
                group: group.clone(),
                start,
                generation,
                at: self.wall(),
            };
            match self.change_streams(vec![StreamChange::Join(join)], None) {
                Ok(_) => {
                    self.streams.followed.lock().insert(seat.key.clone(), Some(generation));
                    let offset = self
                        .repository()
                        .group(row.id, group)?
                        .map_or(start, |group| group.offset);
                    tracing::info!(stream = %row.name, %group, generation, "group taken over");
                    return Ok(Some(Member {
                        generation,
                        offset,
                        _seat: seat,
                    }));
                }
                Err(error) if error.reason() == Reason::GroupFenced => {}
                Err(error) => return Err(error),
            }
        }
        Err(StreamRefusal::Changed.into())
    }

    /// Whether a member is the one that this server knows of. On a catalog that is this server's alone there is no other; on a
    /// shared one only [`check_member`](Self::check_member) knows.
    pub fn is_member_here(&self, stream: StreamId, group: &GroupName, generation: u64) -> bool {
        let followed = self.streams.followed.lock();
        followed.get(&(stream, group.clone())) == Some(&Some(generation))
    }

    /// The member of a group is shut out; whether by another server or a reset, the repository knows.
    pub(super) fn doubt_member(&self, stream: StreamId, group: &GroupName) {
        if let Some(generation) = self.streams.followed.lock().get_mut(&(stream, group.clone())) {
            *generation = None;
        }
    }

    /// Refuses once somebody else has taken the group over, or it was reset.
    pub fn check_member(&self, stream: StreamId, group: &GroupName, generation: u64) -> Result<()> {
        match self.repository().group(stream, group)? {
            Some(now) if now.generation == generation => Ok(()),
            now => Err(StreamRefusal::GroupFenced(now.map_or(0, |now| now.generation)).into()),
        }
    }
}
