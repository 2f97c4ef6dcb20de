//! The object tier's section: whether there is one, and how its bucket is reached.

use std::path::{Path, PathBuf};

use payload_core::Span;
use payload_object::{Addressing, BucketOptions, Credentials, Place};

use super::keys::{self, Fallback, Key};
use super::problem::Fault;
use super::reader::Reader;
use super::unit::{Capacity, show_size};
use super::value::{Value, Written, one_of, quote};

/// S3 takes no smaller parts, and 10,000 of the largest are more than the largest payload.
const PART_SIZE: std::ops::RangeInclusive<u64> = 5 << 20..=1 << 30;

/// The object tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectConfig {
    /// How its bucket is reached.
    pub bucket: BucketOptions,
    /// How long requests last that clients send to the bucket themselves; zero: they get none.
    pub url_term: Span,
}

/// The object tier; none without a URL.
pub(super) fn object(reader: &mut Reader) -> Option<ObjectConfig> {
    let url = reader.find(&keys::OBJECT_URL);
    let section = Section {
        endpoint: reader.find(&keys::OBJECT_ENDPOINT),
        region: reader.find(&keys::OBJECT_REGION),
        addressing: reader.get(&keys::OBJECT_ADDRESSING),
        prefix: reader.get(&keys::OBJECT_PREFIX),
        ca_file: reader.find(&keys::OBJECT_CA_FILE),
        credentials: reader.get(&keys::OBJECT_CREDENTIALS),
        concurrency: reader.get(&keys::OBJECT_CONCURRENCY),
        part_size: reader.get(&keys::OBJECT_PART_SIZE),
        timeout: reader.get(&keys::OBJECT_TIMEOUT),
        url_term: reader.get(&keys::OBJECT_URL_TERM),
    };
    let Some(place) = url else {
        // A URL that was refused is one that somebody set.
        if !reader.is_set(&keys::OBJECT_URL) {
            section.refuse_without_url(reader);
        }
        return None;
    };
    section.refuse_foreign(reader, &place);
    if let Some(path) = &section.ca_file
        && let Err(error) = std::fs::File::open(path)
    {
        let message = format!("cannot read {}: {error}", path.display());
        reader.refuse(&keys::OBJECT_CA_FILE, message, None);
    }
    let url_term = section.url_term;
    let bucket = BucketOptions {
        place,
        part_size: part_size(reader, section.part_size),
        prefix: section.prefix.0,
        endpoint: section.endpoint.map(|endpoint| endpoint.0),
        region: section.region.map(|region| region.0),
        addressing: section.addressing,
        ca_file: section.ca_file,
        credentials: section.credentials,
        concurrency: section.concurrency as usize,
        budget: section.timeout,
    };
    Some(ObjectConfig { bucket, url_term })
}

/// What stands beside the URL.
struct Section {
    endpoint: Option<Endpoint>,
    region: Option<Words>,
    addressing: Addressing,
    prefix: Words,
    ca_file: Option<PathBuf>,
    credentials: Credentials,
    concurrency: u32,
    part_size: Capacity,
    timeout: Span,
    url_term: Span,
}

impl Section {
    /// Somebody who sets anything of the tier wants it.
    fn refuse_without_url(&self, reader: &mut Reader) {
        const WHY: &str = "it needs tiers.object.url";
        refuse_set(reader, &keys::OBJECT_ENDPOINT, WHY);
        refuse_set(reader, &keys::OBJECT_REGION, WHY);
        refuse_set(reader, &keys::OBJECT_CA_FILE, WHY);
        refuse_changed(reader, &keys::OBJECT_ADDRESSING, &self.addressing, WHY);
        refuse_changed(reader, &keys::OBJECT_PREFIX, &self.prefix, WHY);
        refuse_changed(reader, &keys::OBJECT_CREDENTIALS, &self.credentials, WHY);
        refuse_changed(reader, &keys::OBJECT_CONCURRENCY, &self.concurrency, WHY);
        refuse_changed(reader, &keys::OBJECT_PART_SIZE, &self.part_size, WHY);
        refuse_changed(reader, &keys::OBJECT_TIMEOUT, &self.timeout, WHY);
        refuse_changed(reader, &keys::OBJECT_URL_TERM, &self.url_term, WHY);
    }

    /// What only some buckets have.
    fn refuse_foreign(&self, reader: &mut Reader, place: &Place) {
        if !matches!(place, Place::S3 { .. }) {
            refuse_set(reader, &keys::OBJECT_REGION, "only S3 has regions");
            refuse_changed(reader, &keys::OBJECT_ADDRESSING, &self.addressing, "only S3 has it");
        }
        if matches!(place, Place::Directory(_)) {
            refuse_set(reader, &keys::OBJECT_ENDPOINT, "a directory has none");
            refuse_set(reader, &keys::OBJECT_CA_FILE, "a directory has none");
            refuse_changed(
                reader,
                &keys::OBJECT_URL_TERM,
                &self.url_term,
                "a directory has no URLs",
            );
            let instead = "name the directory below in tiers.object.url";
            refuse_changed(reader, &keys::OBJECT_PREFIX, &self.prefix, instead);
            refuse_changed(
                reader,
                &keys::OBJECT_CREDENTIALS,
                &self.credentials,
                "a directory has none",
            );
        }
    }
}

fn part_size(reader: &mut Reader, size: Capacity) -> u64 {
    match size {
        Capacity::Bytes(bytes) if PART_SIZE.contains(&bytes) => bytes,
        Capacity::Bytes(_) | Capacity::Percent(_) => {
            let (least, most) = (show_size(*PART_SIZE.start()), show_size(*PART_SIZE.end()));
            reader.refuse(&keys::OBJECT_PART_SIZE, format!("a part has {least} to {most}"), None);
            *PART_SIZE.start()
        }
    }
}

/// What `check-config` prints is a file with the same meaning, so the usual value may be written down.
fn refuse_changed<T: Value + PartialEq>(reader: &mut Reader, key: &'static Key<T>, value: &T, why: &str) {
    let is_usual = match key.default {
        Fallback::Value(text) => T::read(&Written::Words(text.to_owned())).is_ok_and(|usual| usual == *value),
        Fallback::Derived(_) => false,
    };
    if !is_usual {
        refuse_set(reader, key, why);
    }
}

fn refuse_set<T>(reader: &mut Reader, key: &Key<T>, message: &str) {
    if reader.is_set(key) {
        reader.refuse(key, message.to_owned(), None);
    }
}

impl Value for Place {
    const KIND: &'static str = "url";

    fn read(written: &Written) -> Result<Self, Fault> {
        let text = written.text("s3://bucket")?;
        let place = text.parse::<Place>();
        place.map_err(|error| Fault::new(error.message().to_owned()))
    }

    fn show(&self) -> String {
        quote(match self {
            Place::S3 { bucket } => format!("s3://{bucket}"),
            Place::Gcs { bucket } => format!("gs://{bucket}"),
            Place::Azure { account, container } => format!("az://{account}/{container}"),
            Place::Directory(dir) => format!("file://{}", dir.display()),
        })
    }
}

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub(super) struct Endpoint(String);

impl Value for Endpoint {
    const KIND: &'static str = "url";

    fn read(written: &Written) -> Result<Self, Fault> {
        let text = written.text("https://s3.example.org")?.trim_end_matches('/');
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        match host {
            // What stands in front of an @ would be a password, which goes into the credentials.
            Some(host) if !host.is_empty() && !host.contains(['@', '?', '#', ' ']) => Ok(Self(text.to_owned())),
            _ => {
                Err(Fault::new("expected a URL without a user in it").hint("write it like \"https://s3.example.org\""))
            }
        }
    }

    fn show(&self) -> String {
        quote(&self.0)
    }
}

/// The name of a region, or the words of a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub(super) struct Words(String);

impl Value for Words {
    const KIND: &'static str = "words";

    fn read(written: &Written) -> Result<Self, Fault> {
        let text = written.text("a/b")?;
        let is_word = |word: &str| {
            !word.is_empty()
                && !word.starts_with('.')
                && word
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
        };
        if text.len() > 200 || !(text.is_empty() || text.split('/').all(is_word)) {
            let fault = Fault::new("expected letters, digits, '.', '_' and '-', with '/' between");
            return Err(fault.hint("write it like \"pipelines/payloads\""));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        quote(&self.0)
    }
}

impl Value for Credentials {
    const KIND: &'static str = "\"environment\" \"instance-role\" or a path";

    fn read(written: &Written) -> Result<Self, Fault> {
        match written.text("environment")? {
            "environment" => Ok(Self::Environment),
            "instance-role" => Ok(Self::InstanceRole),
            path if Path::new(path).is_absolute() => Ok(Self::File(PathBuf::from(path))),
            // Not repeated: it may be a key.
            _ => Err(Fault::new(
                "expected \"environment\", \"instance-role\" or the absolute path of a file",
            )),
        }
    }

    fn show(&self) -> String {
        match self {
            Credentials::Environment => quote("environment"),
            Credentials::InstanceRole => quote("instance-role"),
            Credentials::File(path) => quote(path.display()),
        }
    }
}

impl Value for Addressing {
    const KIND: &'static str = "\"host\" \"path\"";

    fn read(written: &Written) -> Result<Self, Fault> {
        Ok(match one_of(written, &["host", "path"])? {
            "path" => Self::Path,
            _ => Self::Host,
        })
    }

    fn show(&self) -> String {
        quote(match self {
            Self::Host => "host",
            Self::Path => "path",
        })
    }
}
