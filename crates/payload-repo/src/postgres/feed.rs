//! Word of other servers: a connection that listens, in a thread of its own, and passes on what this server has to say.
//!
//! Two kinds of word travel. What concerns payloads of another node is sent by the transaction that changes them, to that
//! node's channel, so it is out if and only if the change is true. That a namespace's log or a stream has grown is sent
//! afterwards, by this thread, as many of them as have come together: PostgreSQL lets only one transaction that notifies
//! commit at a time, and commits should not queue for that. Nobody is told while nobody else listens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use futures_util::future::poll_fn;
use parking_lot::Mutex;
use payload_core::port::{PeerListener, PeerNews};
use payload_core::{Namespace, NodeId, PayloadId, Span, StreamId};
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client, Notification};
use uuid::Uuid;

use super::connect::connect;
use super::fault::Fault;
use super::options::Target;
use crate::log::Listener;
use crate::observer::{CommitObserver, Purpose};

/// Where everybody hears of logs and streams that have grown, and of new listeners.
const EVERYBODY: &str = "payload_servers";
/// Nobody else's number: it spells "listener". Each listener holds it, so that they can be counted.
const LISTENERS: &str = "x'6c697374656e6572'::bigint";
/// How long after a connection was lost the next one is tried.
const RETRY: Span = Span::from_secs(1);

/// What comes before a stream's id, where else there is a namespace.
const STREAM: &str = "stream ";
/// What a new listener is told: what was done before it was known has been told to nobody.
const AGAIN: &str = "look again";

/// Where a node hears of changes to its payloads.
pub(super) fn channel_of(node: NodeId) -> String {
    format!("payload_{}", Uuid::from_bytes(*node.as_bytes()).simple())
}

/// Listens until it is dropped.
pub(super) struct Feed {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Where to listen, and who is to hear of it.
pub(super) struct Ears {
    pub(super) target: Arc<Target>,
    pub(super) node: NodeId,
    pub(super) peers: PeerListener,
    pub(super) events: Arc<Listener>,
    pub(super) observer: Arc<dyn CommitObserver>,
}

struct Shared {
    ears: Ears,
    /// Whether somebody else listens.
    heard: AtomicBool,
    /// Namespaces and streams of which the others are to be told, as words.
    outbox: Mutex<BTreeSet<String>>,
    wake: Notify,
    stop: Notify,
}

impl Feed {
    /// Begins to listen for a node; returns when nothing is missed any more.
    pub(super) fn start(ears: Ears) -> Result<Self, Fault> {
        let shared = Arc::new(Shared {
            ears,
            heard: AtomicBool::new(false),
            outbox: Mutex::default(),
            wake: Notify::new(),
            stop: Notify::new(),
        });
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|_| Fault::no_resources())?;
        let (listening, (first, connected)) = (Arc::clone(&shared), channel());
        let thread = std::thread::Builder::new().name("peers".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = listening.run(first) => {}
                    () = listening.stop.notified() => {}
                }
            });
            // It may still be looking up a host.
            runtime.shutdown_background();
        });
        let feed = Self {
            shared,
            thread: Some(thread.map_err(|_| Fault::no_resources())?),
        };
        match connected.recv() {
            Ok(connected) => connected.map(|()| feed),
            Err(_) => Err(Fault::lost()),
        }
    }

    /// Tells the others, soon, that the logs of some namespaces and some streams have grown.
    pub(super) fn tell<'a>(
        &self,
        namespaces: impl Iterator<Item = &'a Namespace>,
        streams: impl Iterator<Item = StreamId>,
    ) {
        if !self.shared.heard.load(Ordering::Relaxed) {
            return;
        }
        let mut outbox = self.shared.outbox.lock();
        outbox.extend(namespaces.map(ToString::to_string));
        outbox.extend(streams.map(|id| format!("{STREAM}{id}")));
        drop(outbox);
        self.shared.wake.notify_one();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// One connection after the other. Whoever waits for the first one is told what became of it; why a later one failed
    /// shows wherever else the database is used.
    async fn run(&self, first: Sender<Result<(), Fault>>) {
        let mut connected = self.connect().await;
        let told = connected.as_ref().map(|_| ()).map_err(Clone::clone);
        // Whoever started this thread waits for that.
        let _ = first.send(told);
        if connected.is_err() {
            return;
        }
        loop {
            if let Ok((client, inbox)) = connected {
                self.listen(&client, inbox).await;
            }
            self.heard.store(false, Ordering::Relaxed);
            tokio::time::sleep(RETRY).await;
            connected = self.connect().await;
            if connected.is_ok() {
                (self.ears.peers)(PeerNews::Missed);
            }
        }
    }

    async fn connect(&self) -> Result<(Client, UnboundedReceiver<Notification>), Fault> {
        let limit = self.ears.target.options.connect_timeout;
        let opened = tokio::time::timeout(limit, self.open()).await;
        let opened = opened.map_err(|_| Fault::timed_out())??;
        self.ears.observer.connected(Purpose::Listen);
        Ok(opened)
    }

    /// Until the connection fails. Looks at once, and then from time to time.
    async fn listen(&self, client: &Client, mut inbox: UnboundedReceiver<Notification>) {
        let mut next = tokio::time::Instant::now();
        loop {
            let done = tokio::select! {
                word = inbox.recv() => match word {
                    Some(word) => self.hear(client, &word).await,
                    None => return,
                },
                () = self.wake.notified() => self.speak(client).await,
                () = tokio::time::sleep_until(next) => {
                    next = tokio::time::Instant::now() + self.ears.target.options.poll;
                    self.look(client).await
                }
            };
            if done.is_err() {
                return;
            }
        }
    }

    /// Connects, listens, and only then says so: whoever speaks after that is heard.
    async fn open(&self) -> Result<(Client, UnboundedReceiver<Notification>), Fault> {
        let (client, mut connection) = connect(&self.ears.target.database).await?;
        let (sender, inbox) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(word) = message
                    && sender.send(word).is_err()
                {
                    return;
                }
            }
        });
        let own = channel_of(self.ears.node);
        let millis = self.ears.target.options.statement_timeout.as_millis();
        client
            .batch_execute(&format!(
                "SET statement_timeout = {millis}; LISTEN {own}; LISTEN {EVERYBODY};
                 SELECT pg_advisory_lock_shared({LISTENERS})"
            ))
            .await?;
        self.notify(&client, [String::new()]).await?;
        Ok((client, inbox))
    }

    /// What could have been missed: who else is there, and what has been added to logs.
    async fn look(&self, client: &Client) -> Result<(), Fault> {
        (self.ears.peers)(PeerNews::Look);
        self.count(client).await?;
        let rows = client.query("SELECT name FROM namespaces ORDER BY name", &[]).await?;
        for row in rows {
            self.grown(row.try_get(0)?);
        }
        self.speak(client).await
    }

    async fn count(&self, client: &Client) -> Result<(), Fault> {
        let sql = format!(
            "SELECT count(*) > 1 FROM pg_locks
             WHERE locktype = 'advisory' AND objsubid = 1 AND granted
                 AND classid = ({LISTENERS} >> 32)::oid AND objid = ({LISTENERS} & 4294967295)::oid
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        );
        let heard = client.query_one(&sql, &[]).await?.try_get(0)?;
        self.heard.store(heard, Ordering::Relaxed);
        Ok(())
    }

    async fn hear(&self, client: &Client, word: &Notification) -> Result<(), Fault> {
        if word.channel() != EVERYBODY {
            let ids = word.payload().split(',').filter_map(|id| id.parse().ok());
            (self.ears.peers)(PeerNews::Changed(ids.collect::<Vec<PayloadId>>()));
            return Ok(());
        }
        match word.payload().split_once(' ') {
            Some((who, _)) if who == self.ears.node.to_string() => {}
            Some((_, "")) => {
                self.count(client).await?;
                self.notify(client, [AGAIN.to_owned()]).await?;
            }
            Some((_, AGAIN)) => self.look(client).await?,
            Some((_, word)) => match word.strip_prefix(STREAM) {
                Some(id) => (self.ears.peers)(PeerNews::Moved(id.parse::<StreamId>().into_iter().collect())),
                None => self.grown(word),
            },
            None => {}
        }
        Ok(())
    }

    fn grown(&self, namespace: &str) {
        if let Ok(namespace) = namespace.parse() {
            self.ears.events.tell_of(&namespace);
        }
    }

    async fn speak(&self, client: &Client) -> Result<(), Fault> {
        let words = std::mem::take(&mut *self.outbox.lock());
        if words.is_empty() {
            return Ok(());
        }
        self.notify(client, words).await
    }

    /// Says something to everybody.
    async fn notify(&self, client: &Client, words: impl IntoIterator<Item = String>) -> Result<(), Fault> {
        let words: Vec<String> = words
            .into_iter()
            .map(|word| format!("{} {word}", self.ears.node))
            .collect();
        let sql = "SELECT pg_notify($1, word) FROM unnest($2::text[]) AS said (word)";
        client.query(sql, &[&EVERYBODY, &words]).await?;
        Ok(())
    }
}
