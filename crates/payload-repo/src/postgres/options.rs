//! What can be chosen about the repository, and how a server is reached.

use std::fmt;

use payload_core::{Error, Reason, Result, Span};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// What can be chosen about a [`PostgresRepository`](super::PostgresRepository), besides where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// How long a new connection may take.
    pub connect_timeout: Span,
    /// How long one statement may take, and how long the fate of a commit is looked for whose reply was lost.
    pub statement_timeout: Span,
    /// What the database's settings must promise.
    pub settings: Settings,
    /// Who else may write.
    pub writers: Writers,
    /// How many reads run at a time.
    pub readers: usize,
    /// How many change sets share a transaction at most.
    pub group_max: usize,
}

/// What the database's settings must promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settings {
    /// With `fsync` or `full_page_writes` off it is refused.
    MustBeSafe,
    /// The operator answers for them.
    MayBeUnsafe,
}

/// Who else may write to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Nobody: whoever comes second is refused.
    One,
    /// Other nodes.
    Several,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Span::from_secs(5),
            statement_timeout: Span::from_secs(10),
            settings: Settings::MustBeSafe,
            writers: Writers::Several,
            readers: 4,
            group_max: 256,
        }
    }
}

/// Where the database is and how to get in, without ever showing the secret in it.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) options: PostgresOptions,
    name: String,
}

impl Target {
    /// Reads a connection string, as a URL or as `key=value` pairs.
    pub(super) fn parse(url: &str, options: PostgresOptions) -> Result<Self> {
        // The parser's own message could quote a part of the password.
        let mut config: Config = url.parse().map_err(|_| {
            Error::new(
                Reason::RepositoryUnavailable,
                "the repository's url is not a PostgreSQL connection string",
            )
        })?;
        config
            .connect_timeout(options.connect_timeout)
            .tcp_user_timeout(options.statement_timeout);
        if config.get_application_name().is_none() {
            config.application_name("payloadd");
        }
        let name = name(&config);
        Ok(Self { config, options, name })
    }

    /// How messages call it: hosts and database.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn name(config: &Config) -> String {
    let port = |place: usize| match config.get_ports() {
        [] => 5432,
        [one] => *one,
        ports => ports.get(place).copied().unwrap_or(5432),
    };
    let hosts: Vec<String> = (config.get_hosts().iter().enumerate())
        .map(|(place, host)| match host {
            Host::Tcp(host) => format!("{host}:{}", port(place)),
            Host::Unix(path) => format!("{}:{}", path.display(), port(place)),
        })
        .collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("PostgreSQL database {database:?} at {}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_database_and_no_secret() {
        let target = |url| Target::parse(url, PostgresOptions::default());
        let named = target("postgres://ann:secret@db.example:5433,other/catalog").unwrap();
        let name = "PostgreSQL database \"catalog\" at db.example:5433,other:5432";
        assert_eq!(named.name(), name);
        assert!(!format!("{named:?}").contains("secret"));
        let error = target("postgres://ann:secret@db:port/catalog").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
        let socket = target("host=/run/postgresql user=ann").unwrap();
        assert_eq!(socket.name(), "PostgreSQL database \"ann\" at /run/postgresql:5432");
    }
}
