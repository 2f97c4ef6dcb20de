//! Calls that are wrong as a whole: leases, batches, greetings, messages.

use payload_proto::v1;
use payload_proto::v1::client_message::Request;

use super::doors::{Bed, Door, Doors, refused, renewal_refused};
use crate::support::local::Local;
use crate::support::refusal::{Refusal, moved};
use crate::support::samples::{acquire, put, release, renew, stream_ref, to_tier};

type Send = fn(&Bed, &dyn Door) -> Refusal;

const MANY: [&str; 65] = ["0190a000-0000-7000-8000-000000000000"; 65];

fn subscription(subscription: u64, stream: Option<&str>) -> v1::OpenSubscriptionRequest {
    let open = |name| v1::SubscribeOpen {
        stream: stream_ref(name),
        ..Default::default()
    };
    v1::OpenSubscriptionRequest {
        subscription,
        open: stream.map(open),
        leases: None,
    }
}

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("acquire: a term of 0 ms", Doors::Both, |_, door| {
        refused(door.acquire_one(for_ms(door, 0)))
    }),
    ("acquire: the longest term there is", Doors::Both, |_, door| {
        refused(door.acquire_one(for_ms(door, u64::MAX)))
    }),
    ("acquire: a wait of 10 minutes and 1 ms", Doors::Both, |_, door| {
        refused(door.acquire(v1::AcquireRequest {
            wait_ms: 600_001,
            ..acquire(&[&door.committed()])
        }))
    }),
    ("acquire: the longest wait there is", Doors::Both, |_, door| {
        refused(door.acquire(v1::AcquireRequest {
            wait_ms: u64::MAX,
            ..acquire(&[&door.committed()])
        }))
    }),
    ("acquire: more than 64 KiB inline", Doors::Both, |_, door| {
        refused(door.acquire(v1::AcquireRequest {
            inline_max: (64 << 10) + 1,
            ..acquire(&[&door.committed()])
        }))
    }),
    ("acquire: no item", Doors::Both, |_, door| {
        refused(door.acquire(acquire(&[])))
    }),
    ("acquire: 65 items", Doors::Both, |_, door| {
        refused(door.acquire(acquire(&MANY)))
    }),
    ("acquire: tier number 99 at least", Doors::Both, |_, door| {
        refused(door.acquire(v1::AcquireRequest {
            min_tier: 99,
            ..acquire(&[&door.committed()])
        }))
    }),
    ("promote: to disk", Doors::Grpc, |bed, door| {
        refused(moved(
            bed.grpc.promote(to_tier(&door.committed(), v1::Tier::Disk)).unwrap(),
        ))
    }),
    ("prefetch: to disk", Doors::Grpc, |bed, door| {
        refused(moved(
            bed.grpc.prefetch(to_tier(&door.committed(), v1::Tier::Disk)).unwrap(),
        ))
    }),
    ("spill: to RAM", Doors::Grpc, |bed, door| {
        refused(moved(
            bed.grpc.spill(to_tier(&door.committed(), v1::Tier::Ram)).unwrap(),
        ))
    }),
    ("spill: tier number 99", Doors::Grpc, |bed, door| {
        refused(bed.grpc.spill(v1::MoveRequest {
            to: 99,
            ..to_tier(&door.committed(), v1::Tier::Disk)
        }))
    }),
    ("spill: no item", Doors::Grpc, |bed, _| {
        refused(bed.grpc.spill(v1::MoveRequest::default()))
    }),
    ("spill: an allocation", Doors::Grpc, |bed, door| {
        refused(moved(
            bed.grpc.spill(to_tier(&door.allocated(), v1::Tier::Disk)).unwrap(),
        ))
    }),
    ("release: no item", Doors::Both, |_, door| {
        refused(door.release(release(&[])))
    }),
    ("release: 65 items", Doors::Both, |_, door| {
        refused(door.release(release(&MANY)))
    }),
    ("renew: no item", Doors::Both, |_, door| {
        refused(door.renew(v1::RenewRequest::default()))
    }),
    ("renew: a term of 0 ms", Doors::Both, |_, door| {
        refused(door.renew_one(renew(&door.leased().lease_id, Some(0))))
    }),
    ("renew: the longest term there is", Doors::Both, |_, door| {
        refused(door.renew_one(renew(&door.leased().lease_id, Some(u64::MAX))))
    }),
    ("renew: a lease id that is none", Doors::Both, |_, door| {
        refused(door.renew_one(renew("guess", None)))
    }),
    ("renew: an expired lease", Doors::Both, |_, door| {
        let lease = door.acquire_one(for_ms(door, 1)).unwrap();
        renewal_refused(door, &lease.lease_id)
    }),
    ("renew: another holder's lease", Doors::Both, |bed, door| {
        let lease = bed.stranger.lease(&door.committed()).lease;
        refused(door.renew_one(renew(&lease.lease_id, None)))
    }),
    ("release: a lease id that is none", Doors::Both, |_, door| {
        refused(door.release_one("guess"))
    }),
    ("release: another holder's lease", Doors::Both, |bed, door| {
        let lease = bed.stranger.lease(&door.committed()).lease;
        refused(door.release_one(&lease.lease_id))
    }),
    ("release: a lease that was released", Doors::Both, |_, door| {
        let lease = door.leased();
        door.release_one(&lease.lease_id).unwrap();
        refused(door.release_one(&lease.lease_id))
    }),
    ("forget: a container id that is none", Doors::Local, |bed, _| {
        refused(bed.local.forget(v1::ForgetRequest {
            container_ids: vec!["../disk".to_owned()],
        }))
    }),
    ("reclaim: 65 items", Doors::Local, |bed, _| {
        refused(bed.local.reclaim(v1::ReclaimRequest {
            leases: vec![v1::LeaseRef::default(); 65],
            ..Default::default()
        }))
    }),
    ("subscribe: without saying to what", Doors::Local, |bed, _| {
        refused(bed.local.open_subscription(subscription(7, None)))
    }),
    ("subscribe: the number 0", Doors::Local, |bed, _| {
        refused(bed.local.open_subscription(subscription(0, Some("nowhere"))))
    }),
    ("subscribe: a stream that is not there", Doors::Local, |bed, _| {
        refused(bed.local.open_subscription(subscription(7, Some("nowhere"))))
    }),
    ("subscribe: contents of more than 64 KiB", Doors::Local, |bed, _| {
        refused(bed.local.open_subscription(v1::OpenSubscriptionRequest {
            leases: Some(v1::EntryLeases { inline_max: 65_537 }),
            ..subscription(7, Some("nowhere"))
        }))
    }),
    ("subscribe: 1,001 entries under way", Doors::Local, |bed, _| {
        let mut many = subscription(7, Some("nowhere"));
        many.open.as_mut().unwrap().in_flight_max = 1_001;
        refused(bed.local.open_subscription(many))
    }),
    ("a second greeting", Doors::Local, |bed, _| refused(bed.local.hello())),
    ("a greeting with protocol 2", Doors::Local, |bed, _| {
        refused(Local::connect(bed.world.socket()).greet(2))
    }),
    ("another request before the greeting", Doors::Local, |bed, _| {
        refused(Local::connect(bed.world.socket()).call(Request::Put(put(b"x"))))
    }),
    ("a message without a request", Doors::Local, |bed, _| {
        // Only the correlation id 7, in protobuf.
        bed.stranger.send_raw(&[0x08, 7], &[]);
        refused(bed.stranger.await_answer(7))
    }),
    ("a namespace of 10 MB", Doors::Grpc, |_, door| {
        refused(door.put(v1::PutRequest {
            namespace: "a".repeat(10_000_000),
            ..put(b"x")
        }))
    }),
];

/// An acquire of a new payload for this long.
fn for_ms(door: &dyn Door, ttl_ms: u64) -> v1::AcquireRequest {
    v1::AcquireRequest {
        ttl_ms: Some(ttl_ms),
        ..acquire(&[&door.committed()])
    }
}
