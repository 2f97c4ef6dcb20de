//! Clients straight at the bucket: they store and read with requests that the server has signed, and it looks at what came of them.

use payload_core::Digest;
use payload_core::port::ObjectKey;
use payload_proto::v1;
use payload_proto::v1::Tier::Object;
use payload_testkit::object::{S3Server, SeaweedFs};
use payload_testkit::process::until;
use tempfile::TempDir;

use crate::bucket::{objects, section_with_urls, tiers};
use crate::support::http::send_signed;
use crate::support::refusal::{Answer, lease, moved, reason};
use crate::support::samples::{abort, acquire, allocate, commit, content, delete, get, put, release, to_tier};
use crate::support::{World, directory};

/// Too large to come inside an answer.
const SIZE: usize = 300_000;

/// A server, and an S3 server of any make.
struct Rig<S> {
    world: World,
    dir: TempDir,
    endpoint: String,
    _server: S,
}

impl<S> Rig<S> {
    fn start(server: S, endpoint: impl Fn(&S) -> String, term: &str) -> Self {
        let (dir, endpoint) = (directory(), endpoint(&server));
        let world = World::with(&section_with_urls(&endpoint, &dir.path().join("keys"), term));
        Self {
            world,
            dir,
            endpoint,
            _server: server,
        }
    }

    fn objects(&self) -> Vec<ObjectKey> {
        objects(&self.endpoint, &self.dir.path().join("keys"))
    }

    /// Room in the bucket, and the request that fills it.
    fn allocate(&self, size: usize) -> (v1::AllocateResponse, v1::SignedRequest) {
        let allocation = self.world.grpc().allocate(in_bucket(size)).unwrap();
        assert_eq!(allocation.content_url, "", "the bytes are nothing to the server");
        let request = allocation.to_bucket.clone().unwrap();
        (allocation, request)
    }

    fn commit(&self, allocation: &v1::AllocateResponse, bytes: &[u8]) -> Answer<v1::Payload> {
        let request = v1::CommitRequest {
            allocation_token: allocation.allocation_token.clone(),
            digest: Digest::of(bytes).to_string(),
            ..commit(&allocation.payload_id)
        };
        Ok(self.world.grpc().commit(request)?.payload.unwrap())
    }

    /// Room in the bucket, filled, and the request that did it. On a busy machine a URL that lasts a second may be over before
    /// it is used; then the same allocation gives another.
    fn fill(&self, request_id: &str, bytes: &[u8]) -> (v1::AllocateResponse, v1::SignedRequest) {
        let request = v1::AllocateRequest {
            request_id: request_id.to_owned(),
            ..in_bucket(bytes.len())
        };
        until("a URL that lasts until it is used", || {
            let allocation = self.world.grpc().allocate(request.clone()).unwrap();
            let signed = allocation.to_bucket.clone().unwrap();
            match send_signed(&signed, bytes).0 {
                200 => Some((allocation, signed)),
                403 => None,
                other => panic!("the bucket answered {other}"),
            }
        })
    }

    /// A payload that a client has stored itself.
    fn store(&self, bytes: &[u8]) -> String {
        let (allocation, _) = self.fill("stored", bytes);
        self.commit(&allocation, bytes).unwrap().payload_id
    }

    /// A lease on the object, and the request that reads it.
    fn lease(&self, id: &str) -> (String, v1::SignedRequest) {
        let leased = lease(self.world.grpc().acquire(from_bucket(id)).unwrap().results.remove(0)).unwrap();
        assert_eq!((leased.fd, leased.content_url.as_str()), (None, ""));
        (leased.lease_id, leased.from_bucket.unwrap())
    }
}

fn in_process(term: &str) -> Rig<S3Server> {
    Rig::start(S3Server::start(), S3Server::endpoint, term)
}

fn in_bucket(size: usize) -> v1::AllocateRequest {
    v1::AllocateRequest {
        tier: Object.into(),
        ..allocate(size as u64)
    }
}

fn from_bucket(id: &str) -> v1::AcquireRequest {
    v1::AcquireRequest {
        from_bucket: true,
        ..acquire(&[id])
    }
}

/// The whole way, and what a request is not good for.
fn goes_past_the_server<S>(rig: &Rig<S>) {
    let bytes = content(SIZE, 1);
    let (allocation, request) = rig.allocate(SIZE);
    let careless = v1::SignedRequest {
        headers: Default::default(),
        ..request.clone()
    };
    assert_eq!(send_signed(&careless, &bytes).0, 403, "the condition is signed too");
    assert_eq!(send_signed(&request, &bytes).0, 200);
    let id = rig.commit(&allocation, &bytes).unwrap().payload_id;
    assert_eq!(tiers(&rig.world, &id), [Object]);
    assert_eq!(send_signed(&request, &content(SIZE, 2)).0, 412, "what is there stays");
    let (_, read) = rig.lease(&id);
    assert!(send_signed(&read, b"") == (200, bytes.clone()));
    assert_eq!(tiers(&rig.world, &id), [Object], "the server has not fetched it");
    let write = v1::SignedRequest {
        method: "PUT".to_owned(),
        ..read
    };
    assert_eq!(send_signed(&write, b"other").0, 403);
    // Everybody else reads it as ever.
    let session = rig.world.session();
    assert!(session.lease(&id).read() == bytes);
}

#[test]
fn bytes_go_to_the_bucket_and_come_back_past_the_server() {
    goes_past_the_server(&in_process("1h"));
}

#[test]
fn bytes_go_past_the_server_with_somebody_elses_bucket_too() {
    goes_past_the_server(&Rig::start(SeaweedFs::start(), SeaweedFs::endpoint, "1h"));
}

#[test]
fn a_commit_counts_what_the_bucket_has_and_not_what_the_client_says() {
    let rig = in_process("1h");
    let bytes = content(SIZE, 1);
    let (allocation, _) = rig.allocate(SIZE);
    assert_eq!(reason(rig.commit(&allocation, &bytes)), "NOT_UPLOADED");
    let (allocation, request) = rig.allocate(SIZE);
    assert_eq!(send_signed(&request, &bytes[1..]).0, 200);
    assert_eq!(reason(rig.commit(&allocation, &bytes)), "BAD_SIZE");
    let (allocation, request) = rig.allocate(SIZE);
    assert_eq!(send_signed(&request, &content(SIZE, 2)).0, 200);
    assert_eq!(reason(rig.commit(&allocation, &bytes)), "DIGEST_MISMATCH");
    let (allocation, request) = rig.allocate(SIZE);
    assert_eq!(send_signed(&request, &bytes).0, 200);
    let path = request
        .url
        .split('?')
        .next()
        .unwrap()
        .rsplit("payloads/")
        .next()
        .unwrap();
    std::fs::remove_file(rig._server.bucket().join(path)).unwrap();
    assert_eq!(reason(rig.commit(&allocation, &bytes)), "NOT_UPLOADED");
    assert_eq!(
        send_signed(&request, &bytes).0,
        200,
        "it may be stored as long as nothing is there"
    );
    assert_eq!(rig.commit(&allocation, &bytes).unwrap().size, SIZE as u64);
}

#[test]
fn fault_38_a_url_expires_and_a_fresh_one_is_had_with_the_same_request() {
    let rig = in_process("1s");
    let (grpc, bytes) = (rig.world.grpc(), content(SIZE, 1));
    let request = v1::AllocateRequest {
        request_id: "a1".to_owned(),
        ..in_bucket(SIZE)
    };
    let stale = grpc.allocate(request).unwrap().to_bucket.unwrap();
    assert_eq!(stale.expires_in_ms, 1_000);
    // It answers that something is there for as long as it is good.
    let (given_up, used) = rig.fill("a2", &bytes);
    until("the later URL to expire", || {
        (send_signed(&used, b"").0 == 403).then_some(())
    });
    assert_eq!(send_signed(&stale, &bytes).0, 403);
    let (again, _) = rig.fill("a1", &bytes);
    rig.commit(&again, &bytes).unwrap();
    let given_up = v1::AbortRequest {
        allocation_token: given_up.allocation_token,
        ..abort(&given_up.payload_id)
    };
    grpc.abort(given_up).unwrap();
    until("what was stored to go", || (rig.objects().len() == 1).then_some(()));
    assert_eq!(send_signed(&used, &bytes).0, 403, "nothing comes back");
}

/// Not even when the lease has been released: the URL may be with anybody.
#[test]
fn a_deletion_does_not_take_the_object_from_under_a_url() {
    let rig = in_process("1h");
    let bytes = content(SIZE, 1);
    let id = rig.store(&bytes);
    let (held, read) = rig.lease(&id);
    rig.world.grpc().delete_payload(delete(&id)).unwrap();
    let state = || rig.world.grpc().get_payload(get(&id)).unwrap().payload.unwrap().state();
    assert_eq!(state(), v1::State::Deleting);
    rig.world.grpc().release(release(&[&held])).unwrap();
    until("the payload to be deleted", || {
        (state() == v1::State::Deleted).then_some(())
    });
    assert!(send_signed(&read, b"") == (200, bytes));
    let refused = rig.world.grpc().acquire(from_bucket(&id)).unwrap().results.remove(0);
    assert_eq!(reason(lease(refused)), "PAYLOAD_DELETED");
}

#[test]
fn an_object_goes_when_no_url_can_read_it_any_more_also_after_a_restart() {
    let mut rig = in_process("1s");
    let id = rig.store(&content(SIZE, 1));
    let (_, read) = rig.lease(&id);
    rig.world
        .grpc()
        .delete_payload(v1::DeletePayloadRequest {
            force: true,
            ..delete(&id)
        })
        .unwrap();
    rig.world = rig.world.kill_and_restart();
    until("the object to go", || rig.objects().is_empty().then_some(()));
    assert_ne!(send_signed(&read, b"").0, 200);
}

#[test]
fn what_was_stored_into_an_allocation_goes_with_its_session() {
    let rig = in_process("1h");
    let session = rig.world.session();
    let (allocation, fd) = session.allocate(in_bucket(SIZE)).unwrap();
    assert!(fd.is_none());
    assert_eq!(send_signed(&allocation.to_bucket.unwrap(), &content(SIZE, 1)).0, 200);
    assert_eq!(rig.objects().len(), 1);
    drop(session);
    until("what was stored to go", || rig.objects().is_empty().then_some(()));
}

/// They share an object, and nobody is given more of it than he has a lease on.
#[test]
fn a_small_payload_is_read_out_of_its_object_and_nothing_else() {
    let rig = in_process("1h");
    let session = rig.world.session();
    let ids: Vec<String> = (0..2).map(|seed| session.put_id(&content(5_000, seed))).collect();
    let spill = v1::MoveRequest {
        payload_ids: ids.clone(),
        ..to_tier("", Object)
    };
    for result in rig.world.grpc().spill(spill).unwrap().results {
        moved(v1::MoveResponse { results: vec![result] }).unwrap();
    }
    assert_eq!(rig.objects().len(), 1);
    for (seed, id) in (0..).zip(&ids) {
        let (_, read) = rig.lease(id);
        assert!(send_signed(&read, b"") == (206, content(5_000, seed)));
        let greedy = v1::SignedRequest {
            headers: Default::default(),
            ..read
        };
        assert_eq!(send_signed(&greedy, b"").0, 403, "the range is signed too");
    }
}

#[test]
fn a_directory_has_no_urls() {
    let dir = directory();
    let world = World::with(&format!(
        "[tiers.object]\nurl = \"file://{}\"\n",
        dir.path().join("bucket").display()
    ));
    let small = world.session().put(v1::PutRequest {
        tier: Object.into(),
        ..put(b"bytes")
    });
    let id = small.unwrap().payload.unwrap().payload_id;
    let refused = lease(world.grpc().acquire(from_bucket(&id)).unwrap().results.remove(0)).unwrap_err();
    assert_eq!(refused.reason, "OBJECT_URLS_UNSUPPORTED");
    assert_eq!(
        reason(world.grpc().allocate(in_bucket(SIZE))),
        "OBJECT_URLS_UNSUPPORTED"
    );
}

#[test]
fn more_than_one_request_can_store_is_refused() {
    let rig = in_process("1h");
    let refused = rig.world.grpc().allocate(in_bucket((5 << 30) + 1)).unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.field.as_str()), ("BAD_SIZE", ""));
}
