//! Watch: following a log from a place on, woken by what is written to it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;
use payload_core::log::{self, LogFilter, LogPosition, LogQuery};
use payload_core::port::EventListener;
use payload_core::{Error, Namespace, Reason, Result, Span, limits};

use crate::engine::Engine;
use crate::events::EventPage;

/// Called when there may be something new to read. It must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Where a watch begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchFrom {
    /// With the earliest event that is kept.
    Beginning,
    /// With what happens from now on.
    Now,
    /// After this cursor.
    Cursor(String),
}

/// A place in a log that moves on. Dropping it ends the watch.
pub struct EventWatch {
    engine: Arc<Engine>,
    filter: LogFilter,
    after: Option<LogPosition>,
    number: u64,
}

impl Engine {
    /// Follows a log; `wake` is called whenever there may be more to read. The first read is always worth it.
    pub fn watch_events(self: &Arc<Self>, filter: LogFilter, from: &WatchFrom, wake: Wake) -> Result<EventWatch> {
        self.check_log(&filter)?;
        // Registered before anything is read: nothing can be written in between without waking.
        let number = self.watchers.add(&filter.namespace, wake)?;
        let mut watch = EventWatch {
            engine: Arc::clone(self),
            filter,
            after: None,
            number,
        };
        watch.after = match from {
            WatchFrom::Beginning => None,
            WatchFrom::Now => Some(self.repository().log_end(&watch.filter.namespace)?),
            WatchFrom::Cursor(cursor) => Some(watch.at(cursor)?),
        };
        Ok(watch)
    }

    /// How many watches of events there are.
    pub fn event_watches(&self) -> usize {
        self.watchers.count.load(Ordering::Relaxed)
    }
}

impl EventWatch {
    /// The next page, which may be empty. May block.
    pub fn read(&mut self) -> Result<EventPage> {
        let page = self.engine.repository().log(&self.query(limits::PAGE_SIZE_DEFAULT))?;
        self.after = Some(page.through);
        Ok(EventPage {
            cursor: log::encode_cursor(&self.filter, page.through),
            events: page.events,
            more: page.more,
        })
    }

    /// A place that can be gone on from; a caller hears at once if it cannot.
    fn at(&self, cursor: &str) -> Result<LogPosition> {
        let position = log::decode_cursor(&self.filter, cursor)?;
        let query = LogQuery {
            after: Some(position),
            ..self.query(0)
        };
        self.engine.repository().log(&query)?;
        Ok(position)
    }

    fn query(&self, limit: u32) -> LogQuery {
        LogQuery {
            filter: self.filter.clone(),
            after: self.after,
            limit,
        }
    }
}

impl Drop for EventWatch {
    fn drop(&mut self) {
        self.engine.watchers.remove(&self.filter.namespace, self.number);
    }
}

impl fmt::Debug for EventWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventWatch({:?} after {:?})", self.filter, self.after)
    }
}

/// Whom to wake, by namespace.
#[derive(Default)]
pub(crate) struct Watchers {
    wakes: RwLock<HashMap<Namespace, HashMap<u64, Wake>>>,
    numbers: AtomicU64,
    count: AtomicUsize,
}

impl Watchers {
    /// Hears of the repository's commits.
    pub(crate) fn listener(self: &Arc<Self>) -> EventListener {
        let watchers = Arc::clone(self);
        Arc::new(move |namespace| watchers.wake(namespace))
    }

    fn wake(&self, namespace: &Namespace) {
        // Nearly always nobody watches, and commits are many. A watch counts before it reads, and what is told here can be
        // read already: one of the two sees the other.
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(wakes) = self.wakes.read().get(namespace) {
            wakes.values().for_each(|wake| wake());
        }
    }

    fn add(&self, namespace: &Namespace, wake: Wake) -> Result<u64> {
        if self.count.fetch_add(1, Ordering::SeqCst) >= limits::WATCHES_MAX {
            self.count.fetch_sub(1, Ordering::SeqCst);
            return Err(
                Error::new(Reason::Overloaded, "there are as many watches as there may be")
                    .retry_after(Span::from_secs(1)),
            );
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut wakes = self.wakes.write();
        wakes.entry(namespace.clone()).or_default().insert(number, wake);
        Ok(number)
    }

    fn remove(&self, namespace: &Namespace, number: u64) {
        let mut wakes = self.wakes.write();
        if let Some(of_namespace) = wakes.get_mut(namespace) {
            of_namespace.remove(&number);
            if of_namespace.is_empty() {
                wakes.remove(namespace);
            }
        }
        drop(wakes);
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}
