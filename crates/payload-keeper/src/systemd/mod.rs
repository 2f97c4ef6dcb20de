//! systemd as the keeper: its file descriptor store, the sockets that it hands over, and what it wants to be told.
//!
//! All of it goes by environment variables and small datagrams, described in sd_notify(3), sd_listen_fds(3) and
//! systemd.exec(5). Any other manager that speaks the same will do.

mod inherit;
mod notifier;
mod store;

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use payload_core::{SegmentId, Span};

pub use notifier::Notifier;
pub use store::SystemdStore;

/// What the manager that started this process said in its environment.
#[derive(Debug)]
pub struct Systemd {
    /// To whom this process tells how it is; none if nobody wants to know.
    pub notifier: Option<Arc<Notifier>>,
    /// A sign of life is missed after so long; none if nobody waits for any.
    pub watchdog: Option<Span>,
    /// How many descriptors the manager keeps; none if it does not say.
    pub store_max: Option<usize>,
    /// Descriptors that it handed over, by name: listening sockets, and what was stored.
    pub fds: Vec<(String, OwnedFd)>,
}

impl Systemd {
    /// Reads the environment and takes over the descriptors that it names. Only the first call finds any.
    ///
    /// # Errors
    ///
    /// If the environment says what is not so.
    pub fn from_env(env: &[(String, String)]) -> io::Result<Self> {
        let value = |name: &str| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let own = std::process::id().to_string();
        // What was said to a parent is not meant for its children.
        let watched = value("WATCHDOG_PID").is_none_or(|pid| pid == own);
        let watchdog = value("WATCHDOG_USEC").filter(|_| watched);
        let fds = match value("LISTEN_FDS").filter(|_| value("LISTEN_PID") == Some(&own)) {
            Some(count) => inherit::take(
                number("LISTEN_FDS", count)?,
                value("LISTEN_FDNAMES").unwrap_or_default(),
            )?,
            None => Vec::new(),
        };
        Ok(Self {
            notifier: value("NOTIFY_SOCKET").map(Notifier::new).transpose()?.map(Arc::new),
            watchdog: watchdog
                .map(|micros| number("WATCHDOG_USEC", micros).map(Span::from_micros))
                .transpose()?,
            store_max: value("FDSTORE").map(|max| number("FDSTORE", max)).transpose()?,
            fds,
        })
    }

    /// Takes the segments out of what was handed over.
    pub fn take_segments(&mut self) -> Vec<(SegmentId, OwnedFd)> {
        let (mut segments, mut others) = (Vec::new(), Vec::new());
        for (name, fd) in self.fds.drain(..) {
            match store::segment(&name) {
                Some(segment) => segments.push((segment, fd)),
                None => others.push((name, fd)),
            }
        }
        self.fds = others;
        segments
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> io::Result<T> {
    text.parse().map_err(|_| {
        let message = format!("{name} in the environment is {text:?}, which is no such number");
        io::Error::new(ErrorKind::InvalidInput, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_is_said_is_understood() {
        let said = Systemd::from_env(&env(&[
            ("NOTIFY_SOCKET", "@manager"),
            ("WATCHDOG_USEC", "30000000"),
            ("FDSTORE", "512"),
        ]));
        let said = said.unwrap();
        assert!(said.notifier.is_some() && said.fds.is_empty());
        assert_eq!((said.watchdog, said.store_max), (Some(Span::from_secs(30)), Some(512)));
    }

    #[test]
    fn without_a_manager_there_is_nothing() {
        let said = Systemd::from_env(&[]).unwrap();
        assert!(said.notifier.is_none() && said.fds.is_empty());
        assert_eq!((said.watchdog, said.store_max), (None, None));
    }

    #[test]
    fn what_was_said_to_another_process_is_not_for_this_one() {
        let said = Systemd::from_env(&env(&[
            ("WATCHDOG_USEC", "30000000"),
            ("WATCHDOG_PID", "1"),
            ("LISTEN_FDS", "1"),
            ("LISTEN_PID", "1"),
        ]));
        let said = said.unwrap();
        assert_eq!((said.watchdog, said.fds.len()), (None, 0));
    }

    #[test]
    fn nonsense_is_refused() {
        let own = std::process::id().to_string();
        for nonsense in [
            &[("FDSTORE", "-1")][..],
            &[("WATCHDOG_USEC", "soon")],
            &[("LISTEN_PID", &own), ("LISTEN_FDS", "many")],
            &[("LISTEN_PID", &own), ("LISTEN_FDS", "1000000")],
            &[("NOTIFY_SOCKET", "vsock:2:1")],
        ] {
            assert!(Systemd::from_env(&env(nonsense)).is_err(), "{nonsense:?}");
        }
    }
}
