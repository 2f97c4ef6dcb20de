//! The one connection that writes: fenced transactions of many change sets, and what to do when one of them fails.
//!
//! A batch takes two round trips, or one if it is of a kind that can be [foreseen](outright). The first takes the node's row, which fences and numbers the batch, reads which of the
//! request ids are known, and locks the payloads. The second writes what was decided and commits. If its answer is lost,
//! the number in the node's row tells whether it was committed: only this writer writes under its epoch, and only one
//! batch at a time.

use std::sync::Arc;

use payload_core::sync::Signal;
use payload_core::{ChangeSet, CommitOutcome, Digest, NodeId, Span, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::begin::{self, Claim, Locks, Sync};
use super::connect::{Conn, Session};
use super::decide::{Outcomes, decide};
use super::fault::Fault;
use super::options::{Rivals, Target};
use super::{apply, lineage, outright, row, sql, streams};

use crate::book::Book;
use crate::observer::{CommitObserver, Purpose};

/// How often a set is tried that others keep getting in the way of.
const TRIES_MAX: u32 = 8;
/// The pause before the second try; it doubles with each.
const BACKOFF: Span = Span::from_millis(2);
/// How often somebody is asked who could not be reached, over the time that one statement may take.
const QUESTIONS: u32 = 50;

/// A predecessor whose end the database has not noticed yet gets a moment; it notices soon, even if the network is gone.
const KEEPALIVES: &str = "
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 5";
const OCCUPY: &str = "SET lock_timeout = '3s'; SELECT pg_advisory_lock($node); SET lock_timeout = 0";
/// For whoever had it, and may still have it by a connection that the database has not given up yet.
const OCCUPY_AGAIN: &str = "SELECT pg_try_advisory_lock($node)";

/// Writes, for one claim on one node.
pub(super) struct Writer {
    target: Arc<Target>,
    observer: Arc<dyn CommitObserver>,
    conn: Option<Conn>,
    claim: Option<Claim>,
    /// The number of the last batch, while this connection has written it and knows that.
    last: Option<u64>,
}

/// What became of a COMMIT whose answer was lost.
enum Fate {
    Committed,
    RolledBack,
    Unknown,
}

impl Writer {
    /// Connects when it is first used.
    pub(super) fn new(target: Arc<Target>, observer: Arc<dyn CommitObserver>) -> Self {
        Self {
            target,
            observer,
            conn: None,
            claim: None,
            last: None,
        }
    }

    /// Raises the epoch of a node and writes for it from now on.
    pub(super) fn claim(&mut self, node: NodeId, at: Timestamp) -> Result<u64, Fault> {
        let occupy = match self.target.options.rivals {
            Rivals::Refused => on_node(OCCUPY, node),
            Rivals::TakeOver => String::new(),
        };
        let claim = async |session: &Session| {
            session.batch(&occupy).await?;
            let params: super::connect::Params<'_> = &[&id(node), &at.as_micros()];
            let claimed = session.one(sql::CLAIM, params, |found| {
                let claim = Claim {
                    node,
                    token: found.try_get("claim")?,
                    synced: row::uint(found, "batch")?,
                };
                Ok((row::uint(found, "epoch")?, claim))
            });
            claimed.await?.ok_or_else(|| Fault::bad_row("epoch"))
        };
        let (epoch, claim) = self.twice(|writer| writer.run(claim))?;
        self.claim = Some(claim);
        self.last = Some(claim.synced);
        Ok(epoch)
    }

    /// Commits the sets in one transaction; each has an outcome of its own. If somebody gets in the way, each is done by
    /// itself, so that it only waits for whom it meets.
    pub(super) fn commit(&mut self, sync: Sync, sets: &[ChangeSet]) -> Outcomes {
        match self.twice(|writer| writer.batch(sync, sets)) {
            Ok(outcomes) => outcomes,
            Err(fault) if self.gives_way(&fault) => sets.iter().map(|set| self.alone(sync, set)).collect(),
            Err(fault) => vec![Err(fault); sets.len()],
        }
    }

    /// Does something to the namespaces, for good.
    pub(super) fn change_namespaces(
        &mut self,
        locks: Locks,
        work: &impl AsyncFn(&Session) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.twice(|writer| writer.fenced(Sync::On, locks, work))
    }

    /// Removes a part of the history; what a crash of the host brings back is removed again.
    pub(super) fn remove_history<T>(
        &mut self,
        locks: Locks,
        work: &impl AsyncFn(&Session) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.twice(|writer| writer.fenced(Sync::Off, locks, work))
    }

    /// Forgets old requests; that may be lost with the host, because forgetting again is all it takes.
    pub(super) fn forget_requests(&mut self, before: Timestamp, limit: u32) -> Result<u32, Fault> {
        let forget = async |session: &Session| {
            session
                .execute(sql::FORGET_REQUESTS, &[&before.as_micros(), &i64::from(limit)])
                .await
        };
        let forgotten = self.twice(|writer| writer.fenced(Sync::Off, Locks::default(), &forget))?;
        u32::try_from(forgotten).map_err(|_| Fault::bad_row("at"))
    }

    /// Writes something: only that shows whether writing works.
    pub(super) fn prove_writable(&mut self, at: Timestamp) -> Result<(), Fault> {
        let Some(Claim { node, .. }) = self.claim else {
            return self.twice(|writer| writer.run(async |session: &Session| session.batch("SELECT 1").await));
        };
        let prove = async |session: &Session| {
            session
                .execute(sql::PROVE_WRITABLE, &[&id(node), &at.as_micros()])
                .await
        };
        self.twice(|writer| writer.fenced(Sync::Off, Locks::default(), &prove))
            .map(drop)
    }

    /// A connection may have been lost long before anybody asks; then nothing has happened yet, and a new one will do.
    fn twice<T>(&mut self, work: impl Fn(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        match work(self) {
            Err(fault) if fault.is_lost() && fault.changed_nothing() => work(self),
            result => result,
        }
    }

    /// One set, as often as it takes within reason.
    fn alone(&mut self, sync: Sync, set: &ChangeSet) -> Result<CommitOutcome, Fault> {
        let mut tries = 1;
        loop {
            match self.twice(|writer| writer.find_out(sync, std::slice::from_ref(set))) {
                Err(fault) if tries < TRIES_MAX && self.gives_way(&fault) => pause(self.backoff(tries)),
                result => return result.and_then(|mut outcomes| outcomes.remove(0)),
            }
            tries += 1;
        }
    }

    /// Whether others were in the way, and trying again is all it takes.
    fn gives_way(&self, fault: &Fault) -> bool {
        if let Some(code) = fault.contention() {
            self.observer.retried(code);
        }
        fault.contention().is_some()
    }

    /// Nodes that met wait for different times, so that they do not meet again.
    fn backoff(&self, tries: u32) -> Span {
        let node = self.claim.map_or([0; 16], |claim| *claim.node.as_bytes());
        let jitter = Digest::of(&[&node[..], &tries.to_le_bytes()].concat()).as_bytes()[0];
        BACKOFF * 2_u32.pow(tries - 1) * (128 + u32::from(jitter)) / 256
    }

    fn batch(&mut self, sync: Sync, sets: &[ChangeSet]) -> Result<Outcomes, Fault> {
        let claim = self.claim.ok_or_else(Fault::unclaimed)?;
        match self.outright(sync, claim, sets)? {
            Some(outcomes) => Ok(outcomes),
            None => self.find_out(sync, sets),
        }
    }

    /// The batch in two round trips, whatever it meets.
    fn find_out(&mut self, sync: Sync, sets: &[ChangeSet]) -> Result<Outcomes, Fault> {
        let claim = self.claim.ok_or_else(Fault::unclaimed)?;
        let (number, outcomes, effects) = self.with(|conn| {
            let begin = async |session: &Session| begin::batch(session, sync, claim, sets).await;
            let (number, seen, had) = conn.run(begin)?;
            let mut book = Book::new(streams::Known::new(conn, had));
            let (outcomes, mut effects) = decide(sets, seen, &lineage::Rows(conn), &mut book)?;
            effects.streams = book.done;
            if effects.is_empty() {
                conn.run(async |session: &Session| session.batch("ROLLBACK").await)?;
            }
            Ok((number, outcomes, effects))
        })?;
        if effects.is_empty() {
            return Ok(outcomes);
        }
        match self.run(async |session: &Session| apply::effects(session, claim.node, &effects).await) {
            Ok(()) => {}
            Err(fault) if fault.spoils_connection() => self.resolve(claim, number, fault)?,
            Err(fault) => return Err(fault),
        }
        self.acknowledged(sync, number);
        Ok(outcomes)
    }

    /// The batch in one round trip, if everything is as can be foreseen.
    fn outright(&mut self, sync: Sync, claim: Claim, sets: &[ChangeSet]) -> Result<Option<Outcomes>, Fault> {
        let is_there = |writer: &Self| writer.conn.as_ref().is_some_and(Conn::is_there);
        let Some(last) = self.last.filter(|_| outright::fits(sets) && is_there(self)) else {
            return Ok(None);
        };
        let mut outcomes = None;
        let committed = self.with(|conn| {
            let mut book = Book::new(streams::Known::new(conn, streams::Had::default()));
            let (decided, effects) = decide(sets, outright::foreseen(sets), &lineage::Rows(conn), &mut book)?;
            if !outright::is_foreseen(claim, &decided, &effects) {
                return Ok(None);
            }
            outcomes = Some(decided);
            let commit = async |session: &Session| outright::commit(session, sync, claim, sets, &effects).await;
            conn.run(commit).map(Some)
        });
        match committed {
            Ok(None) => return Ok(None),
            Ok(Some(number)) => self.acknowledged(sync, number),
            // One batch at a time is written, so this one has the next number or none.
            Err(fault) if fault.spoils_connection() => {
                self.resolve(claim, last + 1, fault)?;
                self.acknowledged(sync, last + 1);
            }
            Err(fault) => {
                self.gives_way(&fault);
                return Ok(None);
            }
        }
        Ok(outcomes)
    }

    /// Finds out whether a batch was committed whose answer was lost.
    fn resolve(&mut self, claim: Claim, number: u64, fault: Fault) -> Result<(), Fault> {
        match self.fate(claim, number) {
            Fate::Committed => Ok(()),
            Fate::RolledBack => Err(fault),
            Fate::Unknown => Err(fault.in_commit()),
        }
    }

    /// What is not synced may be forgotten; that is what it means.
    fn acknowledged(&mut self, sync: Sync, number: u64) {
        self.last = Some(number);
        if let (Sync::On, Some(claim)) = (sync, &mut self.claim) {
            claim.synced = number;
        }
    }

    /// Asks on a new connection, for as long as a statement may take.
    fn fate(&mut self, claim: Claim, number: u64) -> Fate {
        let ask = async |session: &Session| {
            let read = |found: &Row| Ok((found.try_get::<_, Option<Uuid>>("claim")?, row::uint(found, "batch")?));
            session.one(sql::LAST_BATCH, &[&id(claim.node)], read).await
        };
        for _ in 0..QUESTIONS {
            match self.run(ask) {
                Ok(Some((now, last))) if now == Some(claim.token) && last >= number => return Fate::Committed,
                Ok(Some((now, _))) if now == Some(claim.token) => return Fate::RolledBack,
                Err(fault) if fault.is_lost() => pause(self.target.options.statement_timeout / QUESTIONS),
                // The node was claimed meanwhile, or nobody can say.
                Ok(_) | Err(_) => return Fate::Unknown,
            }
        }
        Fate::Unknown
    }

    /// A transaction of whoever claimed the node last, and of nobody before.
    fn fenced<T>(
        &mut self,
        sync: Sync,
        locks: Locks,
        work: &impl AsyncFn(&Session) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let claim = self.claim.ok_or_else(Fault::unclaimed)?;
        let (number, done) = self.run(async |session: &Session| {
            let number = begin::fenced(session, sync, locks, claim).await?;
            let done = work(session).await?;
            session.batch(apply::COMMIT).await?;
            Ok((number, done))
        })?;
        self.acknowledged(sync, number);
        Ok(done)
    }

    fn run<T>(&mut self, work: impl AsyncFnOnce(&Session) -> Result<T, Fault>) -> Result<T, Fault> {
        self.with(|conn| conn.run(work))
    }

    fn connect(&mut self) -> Result<Conn, Fault> {
        // The database may have lost what was not synced, and begins to count where it is.
        self.last = None;
        let conn = Conn::open(&self.target, &[sql::SHARED, sql::WRITES, streams::sql::WRITES])?;
        conn.run(async |session: &Session| session.batch(KEEPALIVES).await)?;
        self.observer.connected(Purpose::Write);
        if let (Some(claim), Rivals::Refused) = (self.claim, self.target.options.rivals) {
            let occupy = on_node(OCCUPY_AGAIN, claim.node);
            conn.run(async |session: &Session| session.batch(&occupy).await)?;
        }
        Ok(conn)
    }

    /// Lends the connection to `work`. After a failure it is in no transaction, or gone.
    fn with<T>(&mut self, work: impl FnOnce(&Conn) -> Result<T, Fault>) -> Result<T, Fault> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.connect()?,
        };
        let result = work(&conn);
        let usable = match &result {
            Ok(_) => true,
            Err(fault) if fault.spoils_connection() => false,
            Err(_) => conn
                .run(async |session: &Session| session.batch("ROLLBACK").await)
                .is_ok(),
        };
        self.conn = usable.then_some(conn);
        result
    }
}

/// Names the lock that only one server of a node has.
fn on_node(sql: &str, node: NodeId) -> String {
    let digest = Digest::of(&[b"node", &node.as_bytes()[..]].concat());
    let (number, _) = digest.as_bytes().split_first_chunk().expect("a digest is longer");
    sql.replace("$node", &i64::from_le_bytes(*number).to_string())
}

fn id(node: NodeId) -> Uuid {
    row::uuid(node.as_bytes())
}

/// Nobody tells when a server that was not there is there again.
fn pause(span: Span) {
    Signal::new().wait(Some(span));
}
