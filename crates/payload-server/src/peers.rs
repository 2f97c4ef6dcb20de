//! Who may use the unix sockets: the server's own user, root, and those whom the configuration names.

use payload_core::{Error, Reason, Result};

/// The same for both sockets. The file's mode cannot tell users apart once it lets in more than one.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    own: u32,
    allowed: Vec<u32>,
}

impl Peers {
    pub(crate) fn new(allowed: Vec<u32>) -> Self {
        Self {
            own: rustix::process::geteuid().as_raw(),
            allowed,
        }
    }

    /// Whether other users can reach the sockets, so that it matters who they are.
    pub(crate) fn shared(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// The permission bits of the sockets' files.
    pub(crate) fn socket_mode(&self) -> u32 {
        if self.shared() { 0o666 } else { 0o600 }
    }

    /// Refuses everybody else, and logs that somebody tried.
    pub(crate) fn check(&self, uid: u32) -> Result<()> {
        if uid == self.own || uid == 0 || self.allowed.contains(&uid) {
            return Ok(());
        }
        tracing::warn!(uid, "a user who may not use this server was sent away");
        Err(Error::new(
            Reason::PeerNotAllowed,
            format!("user {uid} may not use this server"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_users_come_in_besides_the_own_and_root() {
        let peers = Peers {
            own: 1_000,
            allowed: vec![1_001],
        };
        for uid in [0, 1_000, 1_001] {
            assert!(peers.check(uid).is_ok(), "{uid}");
        }
        for uid in [1, 1_002, u32::MAX] {
            assert_eq!(peers.check(uid).unwrap_err().reason(), Reason::PeerNotAllowed, "{uid}");
        }
    }
}
