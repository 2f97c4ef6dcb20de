//! One connection: prepared statements over it, driven by whichever thread uses it.
//!
//! A connection has a runtime of its own that runs in the caller's thread while the caller waits. Nothing is handed over
//! between threads, which would cost more than the statement itself; and while nobody asks anything, nothing runs.

use std::collections::HashMap;

use payload_core::Span;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Connection, Row, Socket, Statement};

use super::database::Database;
use super::fault::Fault;
use super::options::Target;
use super::tls::Encrypted;

/// Parameters of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Statements that are prepared together, by their names.
pub(super) type Statements = &'static [(&'static str, &'static str)];

/// What every session is told first. Plans must not depend on statistics: a table that grew since it was last looked at
/// would be scanned. So each statement has one plan, by its indexes.
const SETTINGS: &str = "
    SET default_transaction_isolation = 'read committed';
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET max_parallel_workers_per_gather = 0;
    SET jit = off;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// An open connection.
pub(super) struct Conn {
    /// Absent only while it is dropped.
    runtime: Option<Runtime>,
    session: Session,
}

/// What work on a connection sees of it.
pub(super) struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    limit: Span,
}

impl Conn {
    /// Connects and prepares `statements`.
    pub(super) fn open(target: &Target, statements: &[Statements]) -> Result<Self, Fault> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|_| Fault::no_resources())?;
        let limit = target.options.connect_timeout;
        let session = block_on(&runtime, limit, open(target, statements))?;
        Ok(Self {
            runtime: Some(runtime),
            session,
        })
    }

    /// Whether it is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.session.client.is_closed()
    }

    /// Whether it is there as far as anybody can tell who asks nothing: what has arrived meanwhile is looked at, and its end
    /// would be a part of that.
    pub(super) fn is_there(&self) -> bool {
        let looked = self.run(async |session: &Session| {
            // One turn for the socket, one for what was read from it.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            Ok(!session.client.is_closed())
        });
        looked.unwrap_or(false)
    }

    /// Runs `work` to its end in this thread. If that takes longer than any statement may, the connection is of no use
    /// any more.
    pub(super) fn run<T>(&self, work: impl AsyncFnOnce(&Session) -> Result<T, Fault>) -> Result<T, Fault> {
        let runtime = self.runtime.as_ref().expect("is there until the drop");
        block_on(runtime, self.session.limit, work(&self.session))
    }

    /// The same for work that may take its time.
    pub(super) fn run_for_long<T>(&self, work: impl AsyncFnOnce(&Session) -> Result<T, Fault>) -> Result<T, Fault> {
        let runtime = self.runtime.as_ref().expect("is there until the drop");
        block_on(runtime, Span::MAX, work(&self.session))
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        // The last user may be a thread that must not wait for a runtime's end.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A caller that works for another runtime may wait here too: that runtime goes on in other threads meanwhile.
fn block_on<T>(runtime: &Runtime, limit: Span, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let work = async { tokio::time::timeout(limit, work).await };
    let result = tokio::task::block_in_place(|| runtime.block_on(work));
    result.unwrap_or_else(|_| Err(Fault::timed_out()))
}

/// A connection that nothing drives yet.
pub(super) async fn connect(database: &Database) -> Result<(Client, Connection<Socket, Encrypted>), Fault> {
    let connecting = database.config.connect(database.tls.clone());
    connecting.await.map_err(Fault::connecting)
}

async fn open(target: &Target, statements: &[Statements]) -> Result<Session, Fault> {
    let (client, connection) = connect(&target.database).await?;
    // It ends with the client, and what goes wrong with it is told to whoever waits for an answer.
    drop(tokio::spawn(async move { connection.await.ok() }));
    let millis = target.options.statement_timeout.as_millis();
    client
        .batch_execute(&format!(
            "SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis};{SETTINGS}"
        ))
        .await?;
    let prepared = statements.iter().copied().flatten().map(async |(_, sql)| {
        let statement = client.prepare(sql).await?;
        Ok::<_, Fault>((*sql, statement))
    });
    let statements = futures_util::future::try_join_all(prepared).await?;
    Ok(Session {
        statements: statements.into_iter().collect(),
        // The server gives up first, and says so.
        limit: target.options.statement_timeout * 2,
        client,
    })
}

impl Session {
    /// Runs text with statements in it.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// Runs a prepared statement; gives the number of rows that it changed.
    pub(super) async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<u64, Fault> {
        Ok(self.client.execute(self.statement(sql), params).await?)
    }

    /// All rows of a prepared query.
    pub(super) async fn all<T>(
        &self,
        sql: &'static str,
        params: Params<'_>,
        read: impl Fn(&Row) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let rows = self.client.query(self.statement(sql), params).await?;
        rows.iter().map(read).collect()
    }

    /// The first row of a prepared query.
    pub(super) async fn one<T>(
        &self,
        sql: &'static str,
        params: Params<'_>,
        read: impl Fn(&Row) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let row = self.client.query_opt(self.statement(sql), params).await?;
        row.as_ref().map(read).transpose()
    }

    /// For what is asked once, before anything is prepared.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    fn statement(&self, sql: &'static str) -> &Statement {
        self.statements
            .get(sql)
            .expect("a connection prepares what its users ask")
    }
}
