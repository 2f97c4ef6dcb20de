//! Opens the catalog that the configuration names, and counts what it does.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use payload_core::port::{Clock, Repository};
use payload_core::{Carried, Error, Reason, Span};
use payload_repo::{
    CommitObserver, Database, MemoryRepository, PostgresOptions, PostgresRepository, Purpose, Rivals, Settings,
    SqliteOptions, SqliteRepository,
};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::config::{self, Place, UnsafeSettings};
use crate::fatal;
use crate::http::{Condition, Readiness};
use crate::supervisor::Supervisor;

/// How often a database is looked for that is not there.
const RETRY: Duration = Duration::from_secs(1);

/// Opens the repository. A database that cannot be reached, or takes no writes yet, is waited for: the server is alive
/// meanwhile, and says why it is not ready.
pub(crate) async fn open(
    config: &config::Repository,
    disk: &Path,
    clock: Arc<dyn Clock>,
    registry: &Registry,
    readiness: &Readiness,
    supervisor: &Supervisor,
) -> anyhow::Result<Arc<dyn Repository>> {
    let observer = Arc::new(Observer::new(registry)?);
    let is_far = matches!(config.place, Place::Postgres { .. });
    let mut told = None;
    loop {
        let opened = tokio::task::block_in_place(|| try_open(config, disk, Arc::clone(&clock), Arc::clone(&observer)));
        let error = match opened {
            Ok(repository) => {
                readiness.clear(Condition::Repository);
                return Ok(repository);
            }
            Err(error) if is_far && comes_late(&error) => anyhow::Error::from(error),
            Err(error) => return Err(error.into()),
        };
        let trouble = format!("{error:#}");
        readiness.set(Condition::Repository, trouble.clone());
        supervisor.waiting(&trouble);
        if told.as_ref() != Some(&trouble) {
            tracing::warn!(%trouble, "waiting for the catalog");
            told = Some(trouble);
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What may go away by itself, or by somebody's work on the database.
fn comes_late(error: &Error) -> bool {
    matches!(
        error.reason(),
        Reason::RepositoryUnavailable | Reason::RepositoryReadOnly
    )
}

fn try_open(
    config: &config::Repository,
    disk: &Path,
    clock: Arc<dyn Clock>,
    observer: Arc<Observer>,
) -> payload_core::Result<Arc<dyn Repository>> {
    Ok(match &config.place {
        Place::Memory => Arc::new(MemoryRepository::new()),
        Place::Sqlite(path) => {
            let usual = SqliteOptions::default();
            let options = SqliteOptions {
                busy_timeout: config.busy_timeout,
                // Where it fails the catalog fails anyhow; another disk that fails is to take nothing but its tier.
                carried_max: if on_one_file_system(path, disk) {
                    usual.carried_max
                } else {
                    0
                },
                ..usual
            };
            let put_back = |contents: &[Carried]| payload_tier::put_back(disk, contents);
            Arc::new(SqliteRepository::open(path, options, clock, observer, &put_back)?)
        }
        Place::Postgres { url, ca_file } => {
            let options = PostgresOptions {
                connect_timeout: config.busy_timeout,
                statement_timeout: config.busy_timeout,
                settings: match config.unsafe_settings {
                    UnsafeSettings::Refuse => Settings::MustBeSafe,
                    UnsafeSettings::Accept => Settings::MayBeUnsafe,
                },
                rivals: Rivals::Refused,
                poll: config.poll,
                ..PostgresOptions::default()
            };
            let database = Database::parse(url.reveal(), ca_file.as_deref())?;
            Arc::new(PostgresRepository::open(&database, options, clock, observer)?)
        }
    })
}

/// Whether two paths, of which the last parts need not exist yet, are on one file system.
fn on_one_file_system(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| {
        path.ancestors()
            .find_map(|path| path.metadata().ok())
            .map(|found| found.dev())
    };
    device(one) == device(other)
}

struct Observer {
    synced: Histogram,
    unsynced: Histogram,
    group_sizes: Histogram,
    applied: Histogram,
    applied_sets: IntCounter,
    connections: IntCounterVec,
    reading: IntGauge,
    retries: IntCounterVec,
}

impl Observer {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let options = HistogramOpts::new(
            "payload_repository_commit_seconds",
            "Time of a group commit, by whether it waited for an fsync.",
        )
        .buckets(prometheus::exponential_buckets(0.000_02, 2.0, 16)?);
        let commits = HistogramVec::new(options, &["synced"])?;
        registry.register(Box::new(commits.clone()))?;
        let options = HistogramOpts::new(
            "payload_repository_group_size",
            "Change sets that shared a group commit.",
        )
        .buckets(prometheus::exponential_buckets(1.0, 2.0, 9)?);
        let group_sizes = Histogram::with_opts(options)?;
        registry.register(Box::new(group_sizes.clone()))?;
        let options = HistogramOpts::new(
            "payload_repository_apply_seconds",
            "Time of a transaction that brought acknowledged change sets into the tables.",
        )
        .buckets(prometheus::exponential_buckets(0.000_02, 2.0, 16)?);
        let applied = Histogram::with_opts(options)?;
        registry.register(Box::new(applied.clone()))?;
        let applied_sets = IntCounter::new(
            "payload_repository_applied_total",
            "Change sets that were acknowledged from the journal and brought into the tables since.",
        )?;
        registry.register(Box::new(applied_sets.clone()))?;
        let options = Opts::new(
            "payload_repository_connections_opened_total",
            "Connections to the database that were opened, by what they are for.",
        );
        let connections = IntCounterVec::new(options, &["use"])?;
        registry.register(Box::new(connections.clone()))?;
        let reading = IntGauge::new(
            "payload_repository_reads_running",
            "Connections to the database that a query uses now.",
        )?;
        registry.register(Box::new(reading.clone()))?;
        let options = Opts::new(
            "payload_repository_retries_total",
            "Transactions done again because others were in the way, by SQLSTATE.",
        );
        let retries = IntCounterVec::new(options, &["code"])?;
        registry.register(Box::new(retries.clone()))?;
        Ok(Self {
            applied,
            applied_sets,
            synced: commits.with_label_values(&["true"]),
            unsynced: commits.with_label_values(&["false"]),
            group_sizes,
            connections,
            reading,
            retries,
        })
    }
}

impl CommitObserver for Observer {
    fn group(&self, sets: usize, synced: bool, took: Span) {
        let commits = if synced { &self.synced } else { &self.unsynced };
        commits.observe(took.as_secs_f64());
        self.group_sizes.observe(sets as f64);
    }

    fn applied(&self, sets: usize, took: Span) {
        self.applied.observe(took.as_secs_f64());
        self.applied_sets.inc_by(sets as u64);
    }

    fn connected(&self, purpose: Purpose) {
        self.connections.with_label_values(&[purpose.as_str()]).inc();
    }

    fn reading(&self, connections: usize) {
        self.reading.set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    fn retried(&self, code: &str) {
        self.retries.with_label_values(&[code]).inc();
    }

    fn warning(&self, message: &str) {
        tracing::warn!("{message}");
    }

    fn fatal(&self, error: &Error) {
        fatal::exit("the catalog failed in the middle of a commit", error);
    }
}
