//! What both doors share: the engine, the pool in which slow calls wait, and the measuring of calls.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::http::{Condition, Readiness};
use payload_core::{Error, Instant, Reason, Result, Span};
use payload_engine::Engine;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// How many slow calls may wait or run at once before new ones are shed.
const SLOW_CALLS_MAX: usize = 4_096;

/// Shared by every connection. Each call has a clone, so cloning must be cheap.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    runtime: tokio::runtime::Handle,
    slow: Arc<AtomicUsize>,
    metrics: CallMetrics,
    health: Health,
}

impl Deref for Calls {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Every call there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rpc {
    Allocate,
    Commit,
    Abort,
    Put,
    Acquire,
    Renew,
    Release,
    Promote,
    Prefetch,
    Spill,
    PinPayload,
    UnpinPayload,
    Reclaim,
    Forget,
    /// A message that asks for nothing that there is.
    Unknown,
    GetPayload,
    ListPayloads,
    DeletePayload,
    UpdatePayload,
    GetMetadata,
    PutMetadata,
    ListMetadataHistory,
    AppendEvent,
    ListEvents,
    WatchEvents,
    AddLineage,
    GetLineage,
    GetImpact,
    GetStats,
    ListLeases,
    RevokeLease,
    ListHolders,
    Explain,
    ListTiers,
    ListTransfers,
    CancelTransfer,
    CreateNamespace,
    GetNamespace,
    ListNamespaces,
    UpdateNamespace,
    DeleteNamespace,
    SetName,
    RemoveName,
    GetName,
    ListNames,
    ListNameHistory,
    VerifyEvents,
    VerifyBytes,
    CreateStream,
    GetStream,
    ListStreams,
    UpdateStream,
    DeleteStream,
    Append,
    ReadStream,
    Subscribe,
    CloseSubscription,
    CommitOffset,
    ResetOffset,
    GetGroup,
    ListGroups,
}

impl Rpc {
    const fn writes(self) -> bool {
        matches!(
            self,
            Self::Put
                | Self::Commit
                | Self::DeletePayload
                | Self::UpdatePayload
                | Self::AddLineage
                | Self::PutMetadata
                | Self::AppendEvent
                | Self::CreateNamespace
                | Self::UpdateNamespace
                | Self::DeleteNamespace
                | Self::SetName
                | Self::RemoveName
                | Self::CreateStream
                | Self::UpdateStream
                | Self::DeleteStream
                | Self::Append
                | Self::CommitOffset
                | Self::ResetOffset
        )
    }

    const ALL: [(Self, &'static str); 61] = [
        (Self::Allocate, "Allocate"),
        (Self::Commit, "Commit"),
        (Self::Abort, "Abort"),
        (Self::Put, "Put"),
        (Self::Acquire, "Acquire"),
        (Self::Renew, "Renew"),
        (Self::Release, "Release"),
        (Self::Promote, "Promote"),
        (Self::Prefetch, "Prefetch"),
        (Self::Spill, "Spill"),
        (Self::PinPayload, "PinPayload"),
        (Self::UnpinPayload, "UnpinPayload"),
        (Self::Reclaim, "Reclaim"),
        (Self::Forget, "Forget"),
        (Self::Unknown, "Unknown"),
        (Self::GetPayload, "GetPayload"),
        (Self::ListPayloads, "ListPayloads"),
        (Self::DeletePayload, "DeletePayload"),
        (Self::UpdatePayload, "UpdatePayload"),
        (Self::GetMetadata, "GetMetadata"),
        (Self::PutMetadata, "PutMetadata"),
        (Self::ListMetadataHistory, "ListMetadataHistory"),
        (Self::AppendEvent, "AppendEvent"),
        (Self::ListEvents, "ListEvents"),
        (Self::WatchEvents, "WatchEvents"),
        (Self::AddLineage, "AddLineage"),
        (Self::GetLineage, "GetLineage"),
        (Self::GetImpact, "GetImpact"),
        (Self::GetStats, "GetStats"),
        (Self::ListLeases, "ListLeases"),
        (Self::RevokeLease, "RevokeLease"),
        (Self::ListHolders, "ListHolders"),
        (Self::Explain, "Explain"),
        (Self::ListTiers, "ListTiers"),
        (Self::ListTransfers, "ListTransfers"),
        (Self::CancelTransfer, "CancelTransfer"),
        (Self::CreateNamespace, "CreateNamespace"),
        (Self::GetNamespace, "GetNamespace"),
        (Self::ListNamespaces, "ListNamespaces"),
        (Self::UpdateNamespace, "UpdateNamespace"),
        (Self::DeleteNamespace, "DeleteNamespace"),
        (Self::SetName, "SetName"),
        (Self::RemoveName, "RemoveName"),
        (Self::GetName, "GetName"),
        (Self::ListNames, "ListNames"),
        (Self::ListNameHistory, "ListNameHistory"),
        (Self::VerifyEvents, "VerifyEvents"),
        (Self::VerifyBytes, "VerifyBytes"),
        (Self::CreateStream, "CreateStream"),
        (Self::GetStream, "GetStream"),
        (Self::ListStreams, "ListStreams"),
        (Self::UpdateStream, "UpdateStream"),
        (Self::DeleteStream, "DeleteStream"),
        (Self::Append, "Append"),
        (Self::ReadStream, "ReadStream"),
        (Self::Subscribe, "Subscribe"),
        (Self::CloseSubscription, "CloseSubscription"),
        (Self::CommitOffset, "CommitOffset"),
        (Self::ResetOffset, "ResetOffset"),
        (Self::GetGroup, "GetGroup"),
        (Self::ListGroups, "ListGroups"),
    ];
}

/// By which door a call came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Grpc,
    Local,
}

impl Calls {
    pub(crate) fn new(
        engine: Arc<Engine>,
        runtime: tokio::runtime::Handle,
        registry: &Registry,
        readiness: Arc<Readiness>,
    ) -> prometheus::Result<Self> {
        Ok(Self(Arc::new(Shared {
            engine,
            runtime,
            slow: Arc::default(),
            metrics: CallMetrics::new(registry)?,
            health: Health::new(readiness),
        })))
    }

    /// A place among the slow calls, if there is one.
    pub(crate) fn place(&self) -> Result<SlowCall> {
        SlowCall::enter(&self.slow)
    }

    /// Runs a call that may block, in a thread that may. It runs to its end, whatever becomes of its caller.
    pub(crate) fn spawn(&self, place: SlowCall, work: impl FnOnce(&Engine) + Send + 'static) {
        let engine = Arc::clone(&self.engine);
        self.runtime.spawn_blocking(move || {
            let _place = place;
            work(&engine);
        });
    }

    /// The same for an async caller who wants the result.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, result) = tokio::sync::oneshot::channel();
        self.spawn(self.place()?, move |engine| {
            // A caller that has gone away does not hear the answer; the work is done all the same.
            let _ = answer.send(work(engine));
        });
        result
            .await
            .map_err(|_| Error::new(Reason::Internal, "the call panicked; see the server's log").outcome_unknown())?
    }

    /// Lets a task go its own way.
    pub(crate) fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// How many slow calls wait or run.
    pub(crate) fn slow_calls(&self) -> usize {
        self.slow.load(Ordering::Relaxed)
    }

    /// What is left until `deadline` of a call that waits. Never nothing: a wait that is over ends as one, and not as a
    /// call that did not want to wait.
    pub(crate) fn left(&self, deadline: Instant) -> Span {
        deadline.since(self.now()).max(Span::from_nanos(1))
    }

    pub(crate) fn now(&self) -> Instant {
        self.engine.clock().now()
    }

    /// Notes how a call went that began at `began`.
    pub(crate) fn observe(&self, door: Door, rpc: Rpc, began: Instant, failure: Option<&Error>) {
        self.metrics.observe(door, rpc, self.now().since(began), failure);
        self.health.observe(rpc, failure);
    }
}

/// A place among the slow calls, given back when the call ends.
pub(crate) struct SlowCall(Arc<AtomicUsize>);

impl SlowCall {
    fn enter(slow: &Arc<AtomicUsize>) -> Result<Self> {
        if slow.fetch_add(1, Ordering::Relaxed) >= SLOW_CALLS_MAX {
            slow.fetch_sub(1, Ordering::Relaxed);
            return Err(
                Error::new(Reason::Overloaded, "too many calls are waiting").retry_after(Span::from_millis(100))
            );
        }
        Ok(Self(Arc::clone(slow)))
    }
}

impl Drop for SlowCall {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What calls tell about the repository: one that fails for lack of it makes the server unready, the next
/// write that works makes it ready again.
struct Health {
    readiness: Arc<Readiness>,
    unwell: AtomicBool,
}

impl Health {
    fn new(readiness: Arc<Readiness>) -> Self {
        Self {
            readiness,
            unwell: AtomicBool::new(false),
        }
    }

    fn observe(&self, rpc: Rpc, failure: Option<&Error>) {
        let Some(error) = failure else {
            if rpc.writes() && self.unwell.load(Ordering::Relaxed) {
                self.unwell.store(false, Ordering::Relaxed);
                self.readiness.clear(Condition::Repository);
            }
            return;
        };
        // Who fails for a tier says nothing about the others: see `Engine::degraded`.
        if let Reason::RepositoryUnavailable | Reason::RepositoryReadOnly | Reason::RepositoryCorrupt = error.reason() {
            self.unwell.store(true, Ordering::Relaxed);
            self.readiness.set(Condition::Repository, error.message().to_owned());
        }
    }
}

/// Duration of every call, and the reasons of those that failed.
struct CallMetrics {
    durations: [Vec<Histogram>; 2],
    failures: IntCounterVec,
}

impl CallMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let buckets = prometheus::exponential_buckets(0.000_01, 2.5, 16)?;
        let options = HistogramOpts::new("payload_call_seconds", "Time from request to answer, by door and call.")
            .buckets(buckets);
        let durations = HistogramVec::new(options, &["door", "call"])?;
        registry.register(Box::new(durations.clone()))?;
        let failures = IntCounterVec::new(
            Opts::new(
                "payload_call_failures_total",
                "Calls that failed, by door, call and reason.",
            ),
            &["door", "call", "reason"],
        )?;
        registry.register(Box::new(failures.clone()))?;
        let of = |door: Door| {
            Rpc::ALL
                .iter()
                .map(|(_, name)| durations.with_label_values(&[door.name(), name]))
                .collect()
        };
        Ok(Self {
            durations: [of(Door::Grpc), of(Door::Local)],
            failures,
        })
    }

    fn observe(&self, door: Door, rpc: Rpc, took: Span, failure: Option<&Error>) {
        self.durations[door as usize][rpc as usize].observe(took.as_secs_f64());
        if let Some(error) = failure {
            self.failures
                .with_label_values(&[door.name(), Rpc::ALL[rpc as usize].1, error.reason().as_str()])
                .inc();
        }
    }
}

impl Door {
    const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Local => "local",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_stands_at_its_own_place() {
        for (position, (rpc, _)) in Rpc::ALL.iter().enumerate() {
            assert_eq!(*rpc as usize, position);
        }
    }
}
