//! Every kind of id is its own type, so that one can never be passed for another.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::error::{Error, Reason};

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// From the 16 bytes of a UUID that this system made; nil is refused.
            pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
                let uuid = Uuid::from_bytes(bytes);
                (!uuid.is_nil()).then_some(Self(uuid))
            }

            /// A version 7 UUID (RFC 9562) from a wall-clock time and 10 random bytes.
            pub fn from_parts(millis: u64, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// The 16 bytes of the UUID.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            /// Accepts only the hyphenated lower- or upper-case form of a version 7 UUID.
            fn from_str(text: &str) -> Result<Self, Error> {
                let bad = || Error::invalid(Reason::BadId, concat!($what, " must be a UUIDv7 in its hyphenated form")).field($field);
                if text.len() != 36 {
                    return Err(bad());
                }
                let uuid = Uuid::try_parse(text).map_err(|_| bad())?;
                if uuid.get_version_num() != 7 {
                    return Err(bad());
                }
                Ok(Self(uuid))
            }
        }
    };
}

uuid_id!(
    /// Names a payload for ever, even after its bytes are gone.
    PayloadId, "payload id", "payload_id"
);
uuid_id!(
    /// Names one complete copy of a payload.
    ReplicaId, "replica id", "replica_id"
);
uuid_id!(
    /// Names a piece of shared memory (one memfd): a whole payload, or a slab that packs many.
    SegmentId, "segment id", "segment_id"
);
uuid_id!(
    /// Names a file in the disk tier: a whole payload, or a pack of many.
    FileId, "file id", "file_id"
);
uuid_id!(
    /// Names an object in the bucket: a whole payload, or a pack of many. It is the generation in the object's key.
    ObjectId, "object id", "object_id"
);
uuid_id!(
    /// Names one data directory with the server that owns it.
    NodeId, "node id", "node_id"
);
uuid_id!(
    /// Names one incarnation of a stream: a stream that is made again under the same name has another one.
    StreamId, "incarnation", "incarnation"
);

macro_rules! token_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// From its bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let mut text = [0u8; 2 * $len];
                for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
                    pair[0] = HEX[usize::from(byte >> 4)];
                    pair[1] = HEX[usize::from(byte & 15)];
                }
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            /// Shows the first bytes only: the rest is a secret of its owner and must not reach a log.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:02x}{:02x}{:02x}{:02x}…)"), self.0[4], self.0[5], self.0[6], self.0[7])
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let bad = || Error::invalid(Reason::BadId, concat!($what, " is not one that this server gave out")).field($field);
                let text = text.as_bytes();
                if text.len() != 2 * $len {
                    return Err(bad());
                }
                let digit = |c: u8| char::from(c).to_digit(16).filter(|_| !c.is_ascii_uppercase());
                let mut bytes = [0u8; $len];
                for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
                    let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(bad()) };
                    *byte = (high << 4 | low) as u8;
                }
                Ok(Self(bytes))
            }
        }
    };
}

token_id!(
    /// Names a lease and proves the right to it: an 8-byte serial number and a 16-byte MAC over what was granted to whom.
    LeaseId, 24, "lease id", "lease_id"
);
token_id!(
    /// Names a session and proves the right to resume it: an 8-byte serial number and a 16-byte MAC.
    SessionId, 24, "session id", "session_id"
);
token_id!(
    /// Proves the right to finish an allocation: a MAC over payload and principal.
    AllocationToken, 16, "allocation token", "allocation_token"
);

impl NodeId {
    /// No node: what is in the object tier belongs to none, and every server of the catalog can reach it.
    pub const NONE: Self = Self(Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0000));
}

impl PayloadId {
    /// The millisecond since the Unix epoch in which it was made.
    pub fn millis(&self) -> u64 {
        let bytes = self.as_bytes();
        bytes[..6].iter().fold(0, |millis, byte| millis << 8 | u64::from(*byte))
    }
}

impl LeaseId {
    /// The serial number, unique within one start of the server.
    pub fn serial(&self) -> u64 {
        serial_of(&self.0)
    }
}

impl SessionId {
    /// The serial number, unique within one start of the server.
    pub fn serial(&self) -> u64 {
        serial_of(&self.0)
    }
}

fn serial_of(token: &[u8; 24]) -> u64 {
    let mut serial = [0; 8];
    serial.copy_from_slice(&token[..8]);
    u64::from_be_bytes(serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hyphenated_version_7_uuids_are_payload_ids() {
        let id = PayloadId::from_parts(1_700_000_000_000, [7; 10]);
        assert_eq!(id.to_string().parse::<PayloadId>().unwrap(), id);
        assert_eq!(id.millis(), 1_700_000_000_000);
        for bad in [
            "",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "{018bcfe5-6800-7707-8707-070707070707}",
            "018bcfe568007707870707070707070707",
            "../../../../../../../../../etc/passwd",
            "018bcfe5-6800-7707-8707-07070707070\0",
        ] {
            assert_eq!(bad.parse::<PayloadId>().unwrap_err().reason(), Reason::BadId, "{bad:?}");
        }
    }

    #[test]
    fn tokens_round_trip_and_stay_out_of_logs() {
        let id = LeaseId::from_bytes(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(id.to_string().parse::<LeaseId>().unwrap(), id);
        assert!(!format!("{id:?}").contains(&id.to_string()[16..]));
        assert_eq!(id.serial(), u64::from_be_bytes([0, 7, 14, 21, 28, 35, 42, 49]));
        for bad in ["", "00", &"zz".repeat(24), &"AA".repeat(24), &"é".repeat(24)] {
            assert!(bad.parse::<LeaseId>().is_err(), "{bad:?}");
        }
    }
}
