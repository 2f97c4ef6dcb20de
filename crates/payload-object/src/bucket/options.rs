//! What a bucket is reached by.

use std::path::PathBuf;

use payload_core::{Error, Reason, Result, Span};

/// How to reach a bucket, and how much at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketOptions {
    /// Which bucket of whom.
    pub place: Place,
    /// Goes in front of every key; empty for none. What lies beside it is never touched.
    pub prefix: String,
    /// Another address than the provider's own.
    pub endpoint: Option<String>,
    /// For S3.
    pub region: Option<String>,
    /// For S3.
    pub addressing: Addressing,
    /// Certificates (PEM) to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Where the permission comes from.
    pub credentials: Credentials,
    /// How many requests at a time.
    pub concurrency: usize,
    /// Objects above this size go in parts of it; reads always do.
    pub part_size: u64,
    /// How long a request may take with all its attempts.
    pub budget: Span,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Of S3, or of what speaks it.
    S3 {
        /// Its name.
        bucket: String,
    },
    /// Of Google Cloud Storage.
    Gcs {
        /// Its name.
        bucket: String,
    },
    /// Of Azure Blob Storage.
    Azure {
        /// Whose.
        account: String,
        /// Its name.
        container: String,
    },
    /// A directory that stands for one.
    Directory(PathBuf),
}

impl std::str::FromStr for Place {
    type Err = Error;

    /// `s3://bucket`, `gs://bucket`, `az://account/container` or `file:///directory`.
    fn from_str(url: &str) -> Result<Self> {
        let bad = || {
            let message = format!(
                "{url:?} is not the URL of a bucket: s3://bucket, gs://bucket, az://account/container or file:///directory"
            );
            Error::invalid(Reason::BadName, message)
        };
        let is_name = |name: &str| {
            (1..=255).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_".contains(&c))
        };
        let named = |name: &str| is_name(name).then(|| name.to_owned()).ok_or_else(bad);
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        match scheme {
            "s3" => Ok(Self::S3 { bucket: named(rest)? }),
            "gs" => Ok(Self::Gcs { bucket: named(rest)? }),
            "az" => {
                let (account, container) = rest.split_once('/').ok_or_else(bad)?;
                Ok(Self::Azure {
                    account: named(account)?,
                    container: named(container)?,
                })
            }
            "file" if rest.starts_with('/') && rest.len() > 1 => Ok(Self::Directory(rest.into())),
            _ => Err(bad()),
        }
    }
}

/// Where a bucket's name stands in its URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Addressing {
    /// In the name of the host, as AWS wants it.
    #[default]
    Host,
    /// In the path, as most other servers do.
    Path,
}

/// Where the permission to use a bucket comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Credentials {
    /// The provider's usual environment variables.
    #[default]
    Environment,
    /// A file, read again whenever it has changed.
    File(PathBuf),
    /// The role of the machine or container that the server runs on.
    InstanceRole,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_bucket_and_nothing_else() {
        let s3 = Place::S3 {
            bucket: "a.b-c".to_owned(),
        };
        assert_eq!("s3://a.b-c".parse::<Place>().unwrap(), s3);
        assert!(matches!("az://acc/con".parse(), Ok(Place::Azure { .. })));
        assert!(matches!("file:///data".parse(), Ok(Place::Directory(_))));
        for bad in [
            "",
            "s3://",
            "s3://a/b",
            "s3://a b",
            "az://a",
            "az://a/b/c",
            "file://data",
            "file:///",
            "http://a",
            "bucket",
        ] {
            assert_eq!(bad.parse::<Place>().unwrap_err().reason(), Reason::BadName, "{bad:?}");
        }
    }
}
