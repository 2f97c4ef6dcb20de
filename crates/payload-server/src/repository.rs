//! Opens the catalog that the configuration names, and counts what it does.

use std::sync::Arc;

use payload_core::port::{Clock, Repository};
use payload_core::{Error, Span};
use payload_repo::{
    CommitObserver, MemoryRepository, PostgresOptions, PostgresRepository, Settings, SqliteOptions, SqliteRepository,
    Writers,
};
use prometheus::{Histogram, HistogramOpts, HistogramVec, Registry};

use crate::config::{self, Place, UnsafeSettings};
use crate::fatal;

/// Opens the repository.
pub(crate) fn open(
    config: &config::Repository,
    clock: Arc<dyn Clock>,
    registry: &Registry,
) -> anyhow::Result<Arc<dyn Repository>> {
    let observer = || Observer::new(registry).map(Arc::new);
    Ok(match &config.place {
        Place::Memory => Arc::new(MemoryRepository::new()),
        Place::Sqlite(path) => {
            let options = SqliteOptions {
                busy_timeout: config.busy_timeout,
                ..SqliteOptions::default()
            };
            Arc::new(SqliteRepository::open(path, options, clock, observer()?)?)
        }
        Place::Postgres(url) => {
            let options = PostgresOptions {
                connect_timeout: config.busy_timeout,
                statement_timeout: config.busy_timeout,
                settings: match config.unsafe_settings {
                    UnsafeSettings::Refuse => Settings::MustBeSafe,
                    UnsafeSettings::Accept => Settings::MayBeUnsafe,
                },
                writers: Writers::One,
                ..PostgresOptions::default()
            };
            Arc::new(PostgresRepository::open(url.reveal(), options, clock, observer()?)?)
        }
    })
}

struct Observer {
    synced: Histogram,
    unsynced: Histogram,
    group_sizes: Histogram,
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
        Ok(Self {
            synced: commits.with_label_values(&["true"]),
            unsynced: commits.with_label_values(&["false"]),
            group_sizes,
        })
    }
}

impl CommitObserver for Observer {
    fn group(&self, sets: usize, synced: bool, took: Span) {
        let commits = if synced { &self.synced } else { &self.unsynced };
        commits.observe(took.as_secs_f64());
        self.group_sizes.observe(sets as f64);
    }

    fn warning(&self, message: &str) {
        tracing::warn!("{message}");
    }

    fn fatal(&self, error: &Error) {
        fatal::exit("the catalog failed in the middle of a commit", error);
    }
}
