//! The subscriptions of one connection to the local socket: what the server tells of each goes to whoever follows.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use parking_lot::Mutex;
use payload_core::Result;
use payload_proto::status::from_failure;
use payload_proto::v1;
use payload_proto::v1::subscribe_response::Response;
use payload_proto::v1::subscription_notice::What;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clock;
use crate::grant::{self, Asked, Grant, nonsense};
use crate::session::Session;
use crate::waiters::Broken;

/// An entry, and the lease on its payload if it came with one.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) entry: v1::Entry,
    pub(crate) lease: Option<Result<Grant>>,
}

/// What a server says about a subscription.
#[derive(Debug)]
pub(crate) enum Heard {
    Opened(v1::SubscribeOpened),
    Entries {
        items: Vec<Item>,
        next_offset: u64,
        head_offset: u64,
    },
    Heartbeat,
}

/// What is heard waits here without a bound of its own: no more comes than was acknowledged.
pub(crate) type Ear = UnboundedReceiver<Result<Heard>>;

/// By number.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, UnboundedSender<Result<Heard>>>,
    broken: bool,
}

impl Heard {
    /// Entries without leases, or with one for each.
    pub(crate) fn new(response: v1::SubscribeResponse, leases: Vec<Result<Grant>>) -> Result<Self> {
        match response.response {
            Some(Response::Opened(opened)) => Ok(Self::Opened(opened)),
            Some(Response::Heartbeat(_)) => Ok(Self::Heartbeat),
            Some(Response::Entries(batch)) if leases.is_empty() || leases.len() == batch.entries.len() => {
                let leases = leases.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
                let items = batch.entries.into_iter().zip(leases);
                Ok(Self::Entries {
                    items: items.map(|(entry, lease)| Item { entry, lease }).collect(),
                    next_offset: batch.next_offset,
                    head_offset: batch.head_offset,
                })
            }
            Some(Response::Entries(_)) => Err(nonsense("entries with some of their leases")),
            None => Err(nonsense("an empty message")),
        }
    }
}

impl Subscriptions {
    /// Listens, from before the subscription is asked for.
    pub(crate) fn enter(&self, number: u64) -> Result<Ear, Broken> {
        let mut table = self.0.lock();
        if table.broken {
            return Err(Broken);
        }
        let (mouth, ear) = unbounded_channel();
        table.open.insert(number, mouth);
        Ok(ear)
    }

    /// Listens no more.
    pub(crate) fn leave(&self, number: u64) {
        self.0.lock().open.remove(&number);
    }

    /// Takes in what the server tells. What it grants to somebody who has left is given back by dropping it.
    pub(crate) fn take_in(&self, session: &Session, notice: v1::SubscriptionNotice, fds: &mut [Option<OwnedFd>]) {
        let leases = take_leases(session, notice.leases, fds);
        let heard = match notice.what {
            Some(What::Response(response)) => leases.and_then(|leases| Heard::new(response, leases)),
            Some(What::Ended(failure)) => Err(from_failure(failure)),
            // A newer server may have more to tell than this client understands.
            None => return,
        };
        let mouth = self.0.lock().open.get(&notice.subscription).cloned();
        if let Some(mouth) = mouth {
            // An error means that nobody listens any more.
            let _ = mouth.send(heard);
        }
    }

    /// The connection is broken: everybody hears what has come, and then the end.
    pub(crate) fn break_off(&self) {
        let mut table = self.0.lock();
        table.broken = true;
        table.open.clear();
    }
}

fn take_leases(
    session: &Session,
    results: Vec<v1::AcquireResult>,
    fds: &mut [Option<OwnedFd>],
) -> Result<Vec<Result<Grant>>> {
    let owner = session.owner()?;
    let asked = Asked {
        at: clock::now(),
        epoch: session.epoch(),
        ttl: None,
    };
    let mut take = |result: v1::AcquireResult| grant::taken(session, &owner, asked, result, fds);
    Ok(results.into_iter().map(&mut take).collect())
}
