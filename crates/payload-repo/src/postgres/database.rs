//! Where a database is, how to get in, and whom to believe that it is there: all that a connection string says.

use std::fmt;
use std::path::Path;

use payload_core::{Error, Reason, Result};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::tls::Tls;

/// A PostgreSQL database, as a connection string names it. Never shows the secret in it.
#[derive(Clone)]
pub struct Database {
    pub(super) config: Config,
    pub(super) tls: Tls,
    name: String,
}

impl Database {
    /// Reads a connection string, and the certificates to believe if it asks for `sslmode=verify-full`.
    pub fn parse(url: &str, ca_file: Option<&Path>) -> Result<Self> {
        let (url, encryption) = take_encryption(url)?;
        // The parser's own message could quote a part of the password.
        let config = url.parse().map_err(|_| refuse("not a PostgreSQL connection string"));
        let mut config: Config = config?;
        let encryption = encryption.unwrap_or(Encryption::Prefer);
        config.ssl_mode(encryption.mode());
        let tls = match (encryption, ca_file) {
            (Encryption::VerifyFull, Some(file)) => Tls::believing(file)?,
            (Encryption::VerifyFull, None) => {
                return Err(refuse(
                    "sslmode=verify-full needs repository.ca_file: whose certificates to believe",
                ));
            }
            (_, Some(_)) => {
                return Err(refuse("repository.ca_file is of use with sslmode=verify-full alone"));
            }
            (_, None) => Tls::believing_anybody(),
        };
        if config.get_application_name().is_none() {
            config.application_name("payloadd");
        }
        let name = name(&config);
        Ok(Self { config, tls, name })
    }

    /// How messages call it: hosts and database.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The words of libpq that are told apart. What it calls `allow` and `verify-ca` promises less than it seems to.
#[derive(Clone, Copy)]
enum Encryption {
    /// None.
    Disable,
    /// If the server offers it, whoever the server is.
    Prefer,
    /// Or no connection, whoever the server is.
    Require,
    /// Or no connection, and only to the host that was asked for.
    VerifyFull,
}

impl Encryption {
    fn of(word: &str) -> Result<Self> {
        match word {
            "disable" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(refuse("sslmode is none of disable, prefer, require, verify-full")),
        }
    }

    const fn mode(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// The driver does not know every word: it gets the rest of the string, without `sslmode`.
fn take_encryption(url: &str) -> Result<(String, Option<Encryption>)> {
    let Some((place, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), None));
    };
    let mode = |pair: &&str| pair.starts_with("sslmode=");
    let (modes, rest): (Vec<&str>, Vec<&str>) = query.split('&').partition(mode);
    let encryption = match modes[..] {
        [] => None,
        [pair] => Some(Encryption::of(&pair["sslmode=".len()..])?),
        _ => return Err(refuse("sslmode is there more than once")),
    };
    let url = if rest.is_empty() {
        place.to_owned()
    } else {
        format!("{place}?{}", rest.join("&"))
    };
    Ok((url, encryption))
}

fn refuse(why: &str) -> Error {
    Error::new(Reason::BadRequest, format!("the repository's url: {why}"))
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
        let database = |url| Database::parse(url, None);
        let named = database("postgres://ann:secret@db.example:5433,other/catalog").unwrap();
        let name = "PostgreSQL database \"catalog\" at db.example:5433,other:5432";
        assert_eq!(named.name(), name);
        assert!(!format!("{named:?}").contains("secret"));
        let error = database("postgres://ann:secret@db:port/catalog").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
        let socket = database("host=/run/postgresql user=ann").unwrap();
        assert_eq!(socket.name(), "PostgreSQL database \"ann\" at /run/postgresql:5432");
    }

    #[test]
    fn the_url_says_how_a_connection_is_encrypted() {
        for (query, mode) in [
            ("", SslMode::Prefer),
            ("?sslmode=disable", SslMode::Disable),
            ("?sslmode=prefer", SslMode::Prefer),
            ("?connect_timeout=3&sslmode=require", SslMode::Require),
        ] {
            let database = Database::parse(&format!("postgres://ann:a%3Fb@db/catalog{query}"), None).unwrap();
            assert_eq!(database.config.get_ssl_mode(), mode, "{query}");
            assert_eq!(database.config.get_password(), Some(&b"a?b"[..]), "{query}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let missing = Path::new("/nowhere/ca.pem");
        for (query, ca_file, why) in [
            ("?sslmode=verify-ca", None, "none of disable"),
            ("?sslmode=", None, "none of disable"),
            ("?sslmode=require&sslmode=disable", None, "more than once"),
            ("?sslmode=verify-full", None, "needs repository.ca_file"),
            ("?sslmode=require", Some(file.path()), "verify-full alone"),
            ("", Some(file.path()), "verify-full alone"),
            ("?sslmode=verify-full", Some(file.path()), "no certificate in it"),
            ("?sslmode=verify-full", Some(missing), "/nowhere/ca.pem"),
        ] {
            let error = Database::parse(&format!("postgres://ann:secret@db/catalog{query}"), ca_file).unwrap_err();
            assert!(error.message().contains(why), "{query}: {error}");
            assert!(!format!("{error:?}").contains("secret"));
        }
    }
}
