//! Unguessable names: a serial number and a MAC over what was granted to whom, so that nothing has to be stored.

use std::sync::atomic::{AtomicU64, Ordering};

use payload_core::{AllocationToken, LeaseId, PayloadId, Principal, ReplicaId, SessionId};

/// The node's secret; whoever has it can make tokens.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// From 32 random bytes that survive restarts.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Makes tokens and checks those of earlier starts.
#[derive(Debug)]
pub(crate) struct Mint {
    key: Key,
    next_serial: AtomicU64,
}

impl Mint {
    /// Serial numbers begin anew with every epoch, so none comes twice in the life of a node.
    pub(crate) fn new(key: Key, epoch: u64) -> Self {
        Self {
            key,
            next_serial: AtomicU64::new((epoch << 40) | 1),
        }
    }

    pub(crate) fn lease(&self, principal: &Principal, payload: PayloadId, replica: ReplicaId) -> LeaseId {
        let serial = self.next_serial();
        LeaseId::from_bytes(self.with_serial(
            b"lease",
            serial,
            &[payload.as_bytes(), replica.as_bytes(), principal.as_str().as_bytes()],
        ))
    }

    /// Whether a server of this node once granted this lease, on this replica, to this principal.
    pub(crate) fn is_lease(&self, id: LeaseId, principal: &Principal, payload: PayloadId, replica: ReplicaId) -> bool {
        let parts: [&[u8]; 3] = [payload.as_bytes(), replica.as_bytes(), principal.as_str().as_bytes()];
        same(id.as_bytes(), &self.with_serial(b"lease", id.serial(), &parts))
    }

    pub(crate) fn session(&self, principal: &Principal) -> SessionId {
        let serial = self.next_serial();
        SessionId::from_bytes(self.with_serial(b"session", serial, &[principal.as_str().as_bytes()]))
    }

    /// Whether a server of this node once opened this session for this principal.
    pub(crate) fn is_session(&self, id: SessionId, principal: &Principal) -> bool {
        same(
            id.as_bytes(),
            &self.with_serial(b"session", id.serial(), &[principal.as_str().as_bytes()]),
        )
    }

    pub(crate) fn allocation(&self, principal: &Principal, payload: PayloadId) -> AllocationToken {
        AllocationToken::from_bytes(self.mac(b"allocation", 0, &[payload.as_bytes(), principal.as_str().as_bytes()]))
    }

    pub(crate) fn is_allocation(&self, token: AllocationToken, principal: &Principal, payload: PayloadId) -> bool {
        same(token.as_bytes(), self.allocation(principal, payload).as_bytes())
    }

    fn next_serial(&self) -> u64 {
        self.next_serial.fetch_add(1, Ordering::Relaxed)
    }

    fn with_serial(&self, purpose: &[u8], serial: u64, parts: &[&[u8]]) -> [u8; 24] {
        let mut token = [0; 24];
        token[..8].copy_from_slice(&serial.to_be_bytes());
        token[8..].copy_from_slice(&self.mac(purpose, serial, parts));
        token
    }

    /// 128 bits of keyed BLAKE3 over length-prefixed parts.
    fn mac(&self, purpose: &[u8], serial: u64, parts: &[&[u8]]) -> [u8; 16] {
        let mut input = [0u8; 256];
        let mut len = 0;
        let mut push = |bytes: &[u8]| {
            input[len..len + bytes.len()].copy_from_slice(bytes);
            len += bytes.len();
        };
        push(&serial.to_be_bytes());
        for part in std::iter::once(&purpose).chain(parts) {
            push(&[part.len() as u8]);
            push(part);
        }
        let hash = blake3::keyed_hash(&self.key.0, &input[..len]);
        let mut mac = [0; 16];
        mac.copy_from_slice(&hash.as_bytes()[..16]);
        mac
    }
}

/// Compares in a time that does not depend on where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_only_what_it_was_made_for() {
        let mint = Mint::new(Key::new([7; 32]), 3);
        let later = Mint::new(Key::new([7; 32]), 4);
        let stranger = Mint::new(Key::new([8; 32]), 3);
        let (alice, bob) = (Principal::uid(1), Principal::uid(11));
        let (payload, other) = (PayloadId::from_parts(1, [1; 10]), PayloadId::from_parts(1, [2; 10]));
        let replica = ReplicaId::from_parts(1, [3; 10]);

        let lease = mint.lease(&alice, payload, replica);
        assert!(later.is_lease(lease, &alice, payload, replica));
        assert!(!stranger.is_lease(lease, &alice, payload, replica));
        assert!(!mint.is_lease(lease, &bob, payload, replica));
        assert!(!mint.is_lease(lease, &alice, other, replica));

        let session = mint.session(&alice);
        assert!(later.is_session(session, &alice) && !later.is_session(session, &bob));
        let token = mint.allocation(&alice, payload);
        assert!(later.is_allocation(token, &alice, payload) && !later.is_allocation(token, &bob, payload));
        assert_ne!(mint.lease(&alice, payload, replica), lease);
    }
}
