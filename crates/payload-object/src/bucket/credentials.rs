//! Keys for S3 from a file that somebody else may renew at any time.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use payload_core::{Error, Reason, Result, Span, Timestamp};

/// How long credentials that do not say how long they last are trusted to, for what is signed with them: those of roles are
/// renewed before they have less left.
pub(super) const ROLE_TERM: Span = Span::from_secs(300);

/// The longest term that any signature may have.
pub(super) const SIGNED_MAX: Span = Span::from_secs(7 * 24 * 3600);

/// A file in the form that AWS's tools use: `aws_access_key_id = …`, `aws_secret_access_key = …`, and for keys that end,
/// `aws_session_token = …` and `expiration = 2026-01-31T12:00:00Z`. Read anew for each request, which costs less than the request.
pub(super) struct KeyFile {
    path: PathBuf,
}

/// What stands in it.
struct Keys {
    credential: AwsCredential,
    /// Present if the keys end.
    expires_at: Option<Timestamp>,
}

impl KeyFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// How much of `valid` the keys have left; nothing if they have ended.
    pub(super) fn term(&self, valid: Span, now: Timestamp) -> Result<Span> {
        let keys = self.read()?;
        Ok(match (keys.expires_at, &keys.credential.token) {
            (Some(expires_at), _) => valid.min(now.until(expires_at)),
            (None, Some(_)) => valid.min(ROLE_TERM),
            (None, None) => valid,
        })
    }

    fn read(&self) -> Result<Keys> {
        let text = std::fs::read_to_string(&self.path).map_err(|error| {
            let message = format!("cannot read the credentials in {}", self.path.display());
            Error::new(Reason::ObjectStoreDenied, message).source(error)
        })?;
        let value = |key: &str| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            let mut values = lines
                .filter(|(name, _)| name.trim() == key)
                .map(|(_, value)| value.trim());
            values.next().filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let required = |key: &'static str| {
            value(key).ok_or_else(|| {
                let message = format!("{} has no {key}", self.path.display());
                Error::new(Reason::ObjectStoreDenied, message)
            })
        };
        let expires_at = match value("expiration") {
            None => None,
            Some(text) => Some(time(&text).ok_or_else(|| {
                let message = format!(
                    "{}: {text:?} is no time such as 2026-01-31T12:00:00Z",
                    self.path.display()
                );
                Error::new(Reason::ObjectStoreDenied, message)
            })?),
        };
        let credential = AwsCredential {
            key_id: required("aws_access_key_id")?,
            secret_key: required("aws_secret_access_key")?,
            token: value("aws_session_token"),
        };
        Ok(Keys { credential, expires_at })
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFile({})", self.path.display())
    }
}

#[async_trait]
impl CredentialProvider for KeyFile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let keys = self.read().map_err(|error| object_store::Error::Unauthenticated {
            path: self.path.display().to_string(),
            source: Box::new(error),
        })?;
        Ok(Arc::new(keys.credential))
    }
}

/// A moment as RFC 3339 writes it, in UTC.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?;
    let (date, clock) = text.split_once('T')?;
    let clock = clock.split('.').next()?;
    let numbers = |text: &str, mark: char| -> Option<[i64; 3]> {
        let parsed: Vec<i64> = text.split(mark).map(str::parse).collect::<Result<_, _>>().ok()?;
        parsed.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let good = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    // Days since 1970 in the proleptic Gregorian calendar, counted in years that begin in March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    good.then(|| Timestamp::from_micros((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_rfc_3339_has_them() {
        let seconds = |text: &str| time(text).map(|at| at.as_micros() / 1_000_000);
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-02-29T12:30:15.25Z"), Some(951_827_415));
        assert_eq!(seconds("2026-11-25T09:00:00+00:00"), Some(1_795_597_200));
        for bad in [
            "",
            "2026-11-25",
            "2026-11-25T09:00:00",
            "2026-13-25T09:00:00Z",
            "x-1-1T0:0:0Z",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn fault_38_what_is_signed_ends_before_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let keys = KeyFile::new(path.clone());
        let now = time("2026-01-31T12:00:00Z").unwrap();
        let hour = Span::from_secs(3600);
        let term = |text: &str| {
            std::fs::write(
                &path,
                format!("[default]\naws_access_key_id = a\naws_secret_access_key = b\n{text}"),
            )
            .unwrap();
            keys.term(hour, now)
        };
        assert_eq!(term("").unwrap(), hour);
        assert_eq!(term("aws_session_token = t\n").unwrap(), ROLE_TERM);
        assert_eq!(
            term("expiration = 2026-01-31T12:10:00Z\n").unwrap(),
            Span::from_secs(600)
        );
        assert_eq!(term("expiration = 2026-01-31T11:00:00Z\n").unwrap(), Span::ZERO);
        assert_eq!(
            term("expiration = soon\n").unwrap_err().reason(),
            Reason::ObjectStoreDenied
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(keys.term(hour, now).unwrap_err().reason(), Reason::ObjectStoreDenied);
    }
}
