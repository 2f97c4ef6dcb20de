//! PostgreSQL through its bare driver: one prepared statement, run to its end.

use anyhow::Result;
use payload_core::PayloadId;
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

use crate::crew::runtime;

/// A connection that runs in the caller's thread.
pub(crate) struct Bare {
    runtime: Runtime,
    client: Client,
}

impl Bare {
    pub(crate) fn connect(url: &str) -> Result<Self> {
        let runtime = runtime()?;
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            drop(tokio::spawn(connection));
            anyhow::Ok(client)
        })?;
        Ok(Self { runtime, client })
    }

    /// Runs text with statements in it.
    pub(crate) fn batch(&self, sql: &str) -> Result<()> {
        Ok(self.runtime.block_on(self.client.batch_execute(sql))?)
    }

    pub(crate) fn prepare(&self, sql: &str) -> Result<Statement> {
        Ok(self.runtime.block_on(self.client.prepare(sql))?)
    }

    /// How many rows there are; all of them have arrived then.
    pub(crate) fn count(&self, statement: &Statement, params: &[&(dyn ToSql + Sync)]) -> Result<usize> {
        let rows = self.runtime.block_on(self.client.query(statement, params))?;
        Ok(std::hint::black_box(rows).len())
    }
}

/// As the driver has it.
pub(crate) fn uuid(id: PayloadId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}
