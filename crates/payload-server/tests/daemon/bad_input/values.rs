//! Values that are wrong by themselves: sizes, numbers, names, ids, durations.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors, refused};
use crate::support::refusal::Refusal;
use crate::support::samples::{abort, acquire, allocate, commit, put};

type Send = fn(&Bed, &dyn Door) -> Refusal;

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("allocate: size of 1 TiB and a byte", Doors::Both, |_, door| {
        refused(door.allocate(allocate((1 << 40) + 1)))
    }),
    ("allocate: the largest size there is", Doors::Both, |_, door| {
        refused(door.allocate(allocate(u64::MAX)))
    }),
    ("allocate: more than the tier has", Doors::Both, |_, door| {
        refused(door.allocate(allocate(1 << 30)))
    }),
    ("allocate: tier number 99", Doors::Both, |_, door| {
        refused(door.allocate(v1::AllocateRequest {
            tier: 99,
            ..allocate(1)
        }))
    }),
    ("allocate: durability number -1", Doors::Both, |_, door| {
        refused(door.allocate(v1::AllocateRequest {
            durability: -1,
            ..allocate(1)
        }))
    }),
    ("allocate: on disk, but volatile", Doors::Both, |_, door| {
        refused(door.allocate(v1::AllocateRequest {
            tier: v1::Tier::Disk.into(),
            durability: v1::Durability::Volatile.into(),
            ..allocate(1)
        }))
    }),
    ("allocate: on disk, but to be given up", Doors::Both, |_, door| {
        refused(door.allocate(v1::AllocateRequest {
            tier: v1::Tier::Disk.into(),
            ..with_policy(v1::Priority::Normal.into(), v1::SpillTarget::SpillToVoid.into())
        }))
    }),
    ("allocate: never evicted, but to be given up", Doors::Both, |_, door| {
        let never = v1::Priority::Never.into();
        refused(door.allocate(with_policy(never, v1::SpillTarget::SpillToVoid.into())))
    }),
    (
        "allocate: written behind, but promised at the commit",
        Doors::Both,
        |_, door| {
            let policy = behind(v1::Durability::Host.into());
            refused(door.allocate(v1::AllocateRequest {
                durability: v1::Durability::Host.into(),
                ..keeping(policy)
            }))
        },
    ),
    (
        "allocate: written behind, but would rather end",
        Doors::Both,
        |_, door| {
            refused(door.allocate(keeping(v1::Policy {
                spill_to: v1::SpillTarget::SpillToVoid.into(),
                ..behind(v1::Durability::Host.into())
            })))
        },
    ),
    ("allocate: written behind as number 9", Doors::Both, |_, door| {
        refused(door.allocate(keeping(behind(9))))
    }),
    (
        "allocate: below the tier that it may sink to",
        Doors::Both,
        |_, door| {
            refused(door.allocate(v1::AllocateRequest {
                tier: v1::Tier::Disk.into(),
                ..keeping(not_below_ram())
            }))
        },
    ),
    (
        "allocate: falls back from the tier that it may sink to",
        Doors::Both,
        |_, door| {
            refused(door.allocate(v1::AllocateRequest {
                fallback: v1::Fallback::NextTier.into(),
                ..keeping(not_below_ram())
            }))
        },
    ),
    (
        "allocate: sinks to RAM at most, but would rather end",
        Doors::Both,
        |_, door| {
            refused(door.allocate(keeping(v1::Policy {
                spill_to: v1::SpillTarget::SpillToVoid.into(),
                ..not_below_ram()
            })))
        },
    ),
    ("allocate: sinks to tier number 99", Doors::Both, |_, door| {
        refused(door.allocate(keeping(v1::Policy {
            min_tier: 99,
            ..Default::default()
        })))
    }),
    (
        "allocate: stays for the longest time there is",
        Doors::Both,
        |_, door| {
            refused(door.allocate(keeping(v1::Policy {
                min_residency_ms: Some(u64::MAX),
                ..Default::default()
            })))
        },
    ),
    ("allocate: priority number 9", Doors::Both, |_, door| {
        refused(door.allocate(with_policy(9, 0)))
    }),
    ("allocate: spill target number 9", Doors::Both, |_, door| {
        refused(door.allocate(with_policy(0, 9)))
    }),
    ("allocate: fallback number 9", Doors::Both, |_, door| {
        refused(door.allocate(v1::AllocateRequest {
            fallback: 9,
            ..allocate(1)
        }))
    }),
    ("allocate: falls back, but would rather end", Doors::Both, |_, door| {
        refused(door.allocate(v1::AllocateRequest {
            fallback: v1::Fallback::NextTier.into(),
            ..with_policy(v1::Priority::Normal.into(), v1::SpillTarget::SpillToVoid.into())
        }))
    }),
    (
        "allocate: more than the tier that it names has",
        Doors::Both,
        |_, door| {
            refused(door.allocate(v1::AllocateRequest {
                tier: v1::Tier::Ram.into(),
                ..allocate(1 << 30)
            }))
        },
    ),
    ("put: content of 64 KiB and a byte", Doors::Both, |_, door| {
        refused(door.put(put(&[0; (64 << 10) + 1])))
    }),
    ("put: a digest that is none", Doors::Both, |_, door| {
        refused(door.put(v1::PutRequest {
            digest: "sha256:00".to_owned(),
            ..put(b"x")
        }))
    }),
    ("put: a digest in capitals", Doors::Both, |_, door| {
        let digest = payload_core::Digest::of(b"x")
            .to_string()
            .to_uppercase()
            .replace("XXH3", "xxh3");
        refused(door.put(v1::PutRequest { digest, ..put(b"x") }))
    }),
    ("put: the digest of other bytes", Doors::Both, |_, door| {
        let digest = payload_core::Digest::of(b"y").to_string();
        refused(door.put(v1::PutRequest { digest, ..put(b"x") }))
    }),
    ("commit: the digest of other bytes", Doors::Both, |_, door| {
        let digest = payload_core::Digest::of(b"y").to_string();
        refused(door.commit(v1::CommitRequest {
            digest,
            ..commit(&door.allocated())
        }))
    }),
    ("commit: a larger size than allocated", Doors::Both, |_, door| {
        refused(door.commit(v1::CommitRequest {
            size: Some(101),
            ..commit(&door.allocated())
        }))
    }),
    ("commit: the largest size there is", Doors::Both, |_, door| {
        refused(door.commit(v1::CommitRequest {
            size: Some(u64::MAX),
            ..commit(&door.allocated())
        }))
    }),
    ("commit: a token that is none", Doors::Both, |_, door| {
        refused(door.commit(v1::CommitRequest {
            allocation_token: "guess".to_owned(),
            ..commit(&door.allocated())
        }))
    }),
    ("an empty id", Doors::Both, |_, door| {
        refused(door.acquire_one(acquire(&[""])))
    }),
    ("the nil id", Doors::Both, |_, door| {
        refused(door.acquire_one(acquire(&["00000000-0000-0000-0000-000000000000"])))
    }),
    ("an id of version 4", Doors::Both, |_, door| {
        refused(door.acquire_one(acquire(&["f47ac10b-58cc-4372-a567-0e02b2c3d479"])))
    }),
    ("an id without hyphens", Doors::Both, |_, door| {
        refused(door.acquire_one(acquire(&["0190a00000007000800000000000000000"])))
    }),
    (
        "`../../../../../../../../../etc/passwd` as an id",
        Doors::Both,
        |_, door| refused(door.acquire_one(acquire(&["../../../../../../../../../etc/passwd"]))),
    ),
    ("an id with a NUL", Doors::Both, |_, door| {
        refused(door.acquire_one(acquire(&["0190a000-0000-7000-8000-00000000000\0"])))
    }),
    ("an id of 100,000 letters", Doors::Both, |_, door| {
        refused(door.commit(commit(&"a".repeat(100_000))))
    }),
    ("a namespace that is a path", Doors::Both, |_, door| {
        refused(put_in(door, "../other"))
    }),
    ("a namespace with a NUL", Doors::Both, |_, door| {
        refused(put_in(door, "a\0b"))
    }),
    ("a namespace with a right-to-left mark", Doors::Both, |_, door| {
        refused(put_in(door, "a\u{202e}b"))
    }),
    ("a namespace of 100,000 letters", Doors::Both, |_, door| {
        refused(put_in(door, &"a".repeat(100_000)))
    }),
    ("33 labels", Doors::Both, |_, door| {
        let labels = (0..33).map(|number| (format!("k{number}"), String::new()));
        refused(door.put(v1::PutRequest {
            labels: labels.collect(),
            ..put(b"x")
        }))
    }),
    ("a label key with a space", Doors::Both, |_, door| {
        refused(put_labelled(door, "a b", ""))
    }),
    ("a label value with a right-to-left mark", Doors::Both, |_, door| {
        refused(put_labelled(door, "name", "\u{202e}gpj.exe"))
    }),
    ("a label value with a NUL", Doors::Both, |_, door| {
        refused(put_labelled(door, "name", "a\0b"))
    }),
    ("a label value of 256 bytes", Doors::Both, |_, door| {
        refused(put_labelled(door, "name", &"v".repeat(256)))
    }),
    ("a request id of 65 characters", Doors::Both, |_, door| {
        refused(door.put(v1::PutRequest {
            request_id: "r".repeat(65),
            ..put(b"x")
        }))
    }),
    ("a request id with a space", Doors::Both, |_, door| {
        refused(door.put(v1::PutRequest {
            request_id: "a b".to_owned(),
            ..put(b"x")
        }))
    }),
    ("abort: a reason of 256 bytes", Doors::Both, |_, door| {
        refused(door.abort(v1::AbortRequest {
            reason: "r".repeat(256),
            ..abort(&door.allocated())
        }))
    }),
    ("abort: a reason with a line break", Doors::Both, |_, door| {
        refused(door.abort(v1::AbortRequest {
            reason: "a\nb".to_owned(),
            ..abort(&door.allocated())
        }))
    }),
    ("a payload that lives for 0 ms", Doors::Both, |_, door| {
        refused(door.put(living(0)))
    }),
    ("a payload that lives for ever and a day", Doors::Both, |_, door| {
        refused(door.put(living(u64::MAX)))
    }),
    ("allocate: a timeout of 0 ms", Doors::Both, |_, door| {
        refused(door.allocate(v1::AllocateRequest {
            timeout_ms: Some(0),
            ..allocate(1)
        }))
    }),
    ("allocate: the longest timeout there is", Doors::Both, |_, door| {
        refused(door.allocate(v1::AllocateRequest {
            timeout_ms: Some(u64::MAX),
            ..allocate(1)
        }))
    }),
];

fn put_in(door: &dyn Door, namespace: &str) -> crate::support::refusal::Answer<v1::PutResponse> {
    door.put(v1::PutRequest {
        namespace: namespace.to_owned(),
        ..put(b"x")
    })
}

fn put_labelled(door: &dyn Door, key: &str, value: &str) -> crate::support::refusal::Answer<v1::PutResponse> {
    door.put(v1::PutRequest {
        labels: [(key.to_owned(), value.to_owned())].into(),
        ..put(b"x")
    })
}

fn living(ttl_ms: u64) -> v1::PutRequest {
    v1::PutRequest {
        ttl_ms: Some(ttl_ms),
        ..put(b"x")
    }
}

fn behind(write_behind: i32) -> v1::Policy {
    v1::Policy {
        write_behind,
        ..Default::default()
    }
}

fn not_below_ram() -> v1::Policy {
    v1::Policy {
        min_tier: v1::Tier::Ram.into(),
        ..Default::default()
    }
}

fn keeping(policy: v1::Policy) -> v1::AllocateRequest {
    v1::AllocateRequest {
        policy: Some(policy),
        ..allocate(100)
    }
}

fn with_policy(priority: i32, spill_to: i32) -> v1::AllocateRequest {
    v1::AllocateRequest {
        policy: Some(v1::Policy {
            priority,
            spill_to,
            ..v1::Policy::default()
        }),
        ..allocate(100)
    }
}
