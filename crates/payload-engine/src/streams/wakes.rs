//! Who wants to know that a stream has moved. Followers wait for this instead of asking again and again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use payload_core::StreamId;

use crate::engine::Engine;

type Wake = Arc<dyn Fn() + Send + Sync>;

/// Followers by stream.
#[derive(Default)]
pub(super) struct Wakes {
    followers: Mutex<HashMap<StreamId, HashMap<u64, Wake>>>,
    last_number: AtomicU64,
}

impl Wakes {
    /// Calls everybody who follows the stream.
    pub(super) fn wake(&self, stream: StreamId) {
        let followers: Vec<Wake> = match self.followers.lock().get(&stream) {
            Some(followers) => followers.values().cloned().collect(),
            None => return,
        };
        followers.iter().for_each(|wake| wake());
    }

    /// Calls everybody.
    pub(super) fn wake_all(&self) {
        let followers: Vec<Wake> = self
            .followers
            .lock()
            .values()
            .flat_map(HashMap::values)
            .cloned()
            .collect();
        followers.iter().for_each(|wake| wake());
    }
}

/// Wakes its owner until it is dropped.
pub struct Watch {
    wakes: Arc<Wakes>,
    stream: StreamId,
    number: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = self.wakes.followers.lock();
        if let Some(followers) = all.get_mut(&self.stream) {
            followers.remove(&self.number);
            if followers.is_empty() {
                all.remove(&self.stream);
            }
        }
    }
}

impl Engine {
    /// Has `wake` called whenever the stream has new entries, was changed or was deleted. It must not block. Whoever
    /// asks for a watch first and reads then misses nothing.
    pub fn watch_stream(&self, stream: StreamId, wake: impl Fn() + Send + Sync + 'static) -> Watch {
        let wakes = Arc::clone(&self.streams.wakes);
        let number = wakes.last_number.fetch_add(1, Ordering::Relaxed);
        let mut followers = wakes.followers.lock();
        followers.entry(stream).or_default().insert(number, Arc::new(wake));
        drop(followers);
        Watch { wakes, stream, number }
    }
}
