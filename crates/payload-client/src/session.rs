//! What all parts of a client share, and how a request finds the server of the moment.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use payload_core::{Error, Reason, Result};
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::backoff::Attempts;
use crate::bucket::Bucket;
use crate::cache::Cache;
use crate::clock;
use crate::endpoint::Endpoint;
use crate::intake::{self, Answer, Expect};
use crate::link::Link;
use crate::options::ClientOptions;
use crate::registry::Registry;
use crate::remote::Remote;
use crate::request_id::RequestIds;
use crate::stages::Stages;
use crate::supervise::{self, Identity};
use crate::transfer::Transfers;
use crate::waiters::Broken;
use crate::{release, renew};

/// A client's side of everything it holds, over any number of connections.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: ClientOptions,
    pub(crate) cache: Arc<Cache>,
    pub(crate) stages: Stages,
    pub(crate) registry: Registry,
    pub(crate) request_ids: RequestIds,
    pub(crate) identity: Mutex<Option<Identity>>,
    pub(crate) route: watch::Sender<Route>,
    /// Made when it is first needed.
    bucket: Mutex<Option<Bucket>>,
    /// Somebody wants a connection although the last attempts were given up.
    pub(crate) wanted: Notify,
    epoch: AtomicU64,
    owner: Weak<Owner>,
}

/// Ends the connection when the last client, lease or writer is gone, whatever the background tasks wait for.
#[derive(Debug)]
pub(crate) struct Owner {
    session: Arc<Session>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// How the server can be reached now.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Over the local socket.
    Local(Arc<Link>),
    /// Over gRPC only.
    Remote(Arc<Remote>),
    /// Perhaps soon.
    Connecting,
    /// Not for a long time; the last attempt failed for this reason.
    Down(Reason, String),
}

/// Whether a request may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It reads, or carries a request id, or what the first one granted died with its connection.
    Safe,
    /// It is about something that the connection's end settles too.
    Never,
}

impl Owner {
    /// Connects, over the local socket if there is one that can be connected.
    pub(crate) async fn open(endpoint: Endpoint, options: ClientOptions) -> Result<Arc<Self>> {
        let request_ids = RequestIds::new()?;
        let owner = Arc::new_cyclic(|owner: &Weak<Self>| {
            let session = Session {
                cache: Cache::new(options.idle_containers_max),
                stages: Stages::default(),
                registry: Registry::default(),
                request_ids,
                identity: Mutex::default(),
                route: watch::Sender::new(Route::Connecting),
                bucket: Mutex::default(),
                wanted: Notify::new(),
                epoch: AtomicU64::new(0),
                owner: owner.clone(),
                endpoint,
                options,
            };
            Self {
                session: Arc::new(session),
                tasks: Mutex::default(),
            }
        });
        let reader = supervise::first(&owner.session).await?;
        let mut tasks = owner.tasks.lock();
        tasks.push(tokio::spawn(release::run(Arc::clone(&owner.session))).abort_handle());
        tasks.push(tokio::spawn(renew::run(Arc::clone(&owner.session))).abort_handle());
        if let Some(reader) = reader {
            tasks.push(tokio::spawn(supervise::run(Arc::clone(&owner.session), reader)).abort_handle());
        }
        drop(tasks);
        Ok(owner)
    }
}

impl Deref for Owner {
    type Target = Arc<Session>;

    fn deref(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        for task in self.tasks.get_mut() {
            task.abort();
        }
        if let Route::Local(link) = &*self.session.route.borrow() {
            link.close();
        }
    }
}

impl Session {
    /// Sends a request and takes its answer in. A request that is safe to repeat survives broken connections.
    pub(crate) async fn call(&self, request: Request, expect: Expect, retry: Retry) -> Result<Answer> {
        let mut message = v1::ClientMessage {
            correlation_id: 0,
            request: Some(request),
        };
        let mut attempts = Attempts::within(self.options.reconnect_max);
        loop {
            let answer = match self.route(retry).await.map_err(|error| attempts.given_up(error))? {
                Route::Local(link) => match link.call(self, &mut message, expect.clone()).await {
                    Ok(answer) => answer,
                    Err(Broken) if retry == Retry::Safe => {
                        attempts.unanswered();
                        continue;
                    }
                    Err(Broken) => return Err(connection_lost().outcome_unknown()),
                },
                Route::Remote(remote) => {
                    let asked_at = clock::now();
                    let response = remote.call(&message).await;
                    response.and_then(|response| intake::take(self, &expect, asked_at, response, Vec::new()))
                }
                Route::Connecting | Route::Down(..) => return Err(connection_lost()),
            };
            match answer {
                Err(error) if retry == Retry::Safe => attempts.once_more_after(error).await?,
                answer => return answer,
            }
        }
    }

    pub(crate) fn namespace(&self) -> String {
        self.options.namespace.as_str().to_owned()
    }

    /// What keeps this session's connection open; a lease or a writer must have it.
    pub(crate) fn owner(&self) -> Result<Arc<Owner>> {
        self.owner.upgrade().ok_or_else(connection_lost)
    }

    pub(crate) fn is_remote(&self) -> bool {
        matches!(*self.route.borrow(), Route::Remote(_))
    }

    /// The way for contents that go to the bucket and come from it without the server.
    pub(crate) fn bucket(&self) -> Result<Bucket> {
        let mut bucket = self.bucket.lock();
        if let Some(bucket) = &*bucket {
            return Ok(bucket.clone());
        }
        let new = Bucket::new(self.options.reconnect_max)?;
        *bucket = Some(new.clone());
        Ok(new)
    }

    /// The way for contents, if there is no local socket.
    pub(crate) fn transfers(&self) -> Option<Transfers> {
        match &*self.route.borrow() {
            Route::Remote(remote) => Some(remote.transfers().clone()),
            _ => None,
        }
    }

    /// The start of the server that this client talks to.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    pub(crate) fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// The connection of the moment. Whoever may repeat a request waits for the next one if there is none.
    pub(crate) async fn route(&self, retry: Retry) -> Result<Route> {
        if let Some(route) = usable(&self.route.borrow()) {
            return Ok(route);
        }
        if retry == Retry::Never {
            return Err(connection_lost());
        }
        let mut routes = self.route.subscribe();
        if matches!(*routes.borrow_and_update(), Route::Down(..)) {
            self.wanted.notify_one();
            // The sender is in this session, so it cannot be gone.
            let _ = routes.changed().await;
        }
        loop {
            let route = routes.borrow_and_update().clone();
            if let Some(route) = usable(&route) {
                return Ok(route);
            }
            if let Route::Down(reason, why) = route {
                return Err(Error::new(reason, why));
            }
            let _ = routes.changed().await;
        }
    }
}

fn usable(route: &Route) -> Option<Route> {
    match route {
        Route::Local(link) if link.is_broken() => None,
        Route::Local(_) | Route::Remote(_) => Some(route.clone()),
        Route::Connecting | Route::Down(..) => None,
    }
}

pub(crate) fn connection_lost() -> Error {
    Error::new(Reason::ConnectionLost, "the connection to the server broke")
}
