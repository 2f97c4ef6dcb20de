//! The byte endpoint over real sockets: payloads read and written by clients that have nothing but TCP.

mod client;
mod hostile;
mod protocol;
mod reading;
mod stalls;
mod uploading;

use payload_core::Digest;
use payload_proto::v1;

use self::client::{Connection, Reply};
use crate::support::World;
use crate::support::samples::{acquire, allocate, commit};

/// Times that a test can wait for.
const IMPATIENT: &str = "[bytes]\nidle_timeout = \"300ms\"\n";

impl World {
    fn bytes(&self) -> Connection {
        Connection::open(&self.daemon.endpoint().bytes)
    }

    /// One request on a connection of its own.
    fn fetch(&self, method: &str, path: &str, headers: &str) -> Reply {
        let mut connection = self.bytes();
        connection.request(method, path, headers);
        connection.reply_to(method)
    }

    fn get_content(&self, payload_id: &str) -> Reply {
        self.fetch("GET", &path(payload_id), "")
    }

    /// An allocation from afar: its id and its token.
    fn allocated(&self, size: u64, tier: v1::Tier) -> (String, String) {
        let request = v1::AllocateRequest {
            tier: tier.into(),
            ..allocate(size)
        };
        let allocation = self.grpc().allocate(request).unwrap();
        (allocation.payload_id, allocation.allocation_token)
    }

    /// Sends a whole body with its length.
    fn upload(&self, payload_id: &str, token: &str, headers: &str, body: &[u8]) -> Reply {
        let mut connection = self.bytes();
        connection.put(&path(payload_id), token, headers, body);
        connection.reply_to("PUT")
    }

    /// Waits until there are so many leases, those of transfers included.
    fn await_leases(&self, count: u64) {
        self.await_stats("leases to end", |stats| stats.leases == count);
    }
}

fn path(payload_id: &str) -> String {
    format!("/v1/payloads/{payload_id}/content")
}

#[test]
fn a_payload_goes_in_and_out_without_a_local_socket() {
    let world = World::start();
    for tier in [v1::Tier::Ram, v1::Tier::Disk] {
        for size in [1, 100 << 10, (8 << 20) + 13] {
            let bytes = crate::support::samples::content(size, 7);
            let (id, token) = world.allocated(size as u64, tier);
            assert_eq!(world.upload(&id, &token, "", &bytes).status, 204);
            let request = v1::CommitRequest {
                digest: Digest::of(&bytes).to_string(),
                ..commit(&id)
            };
            world.grpc().commit(request).unwrap();

            let reply = world.get_content(&id);
            assert_eq!((reply.status, reply.body.len()), (200, size), "{tier:?}");
            assert!(reply.body == bytes, "{tier:?} {size}");
            assert_eq!(reply.header("Payload-Digest"), Some(&*Digest::of(&bytes).to_string()));

            let lease = world.grpc().acquire(acquire(&[&id])).unwrap().results.remove(0);
            let lease = crate::support::refusal::lease(lease).unwrap();
            let header = format!("Payload-Lease: {}\r\n", lease.lease_id);
            assert!(world.fetch("GET", &path(&id), &header).body == bytes);
            world
                .grpc()
                .release(crate::support::samples::release(&[&lease.lease_id]))
                .unwrap();
        }
    }
    world.await_leases(0);
}
