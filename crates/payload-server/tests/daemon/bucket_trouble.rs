//! Kills in the middle of what is done with the bucket, and a bucket that is busy for long: nothing is lost, nothing is left, nothing is
//! stuck.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use payload_core::port::ObjectStore;
use payload_proto::v1;
use payload_proto::v1::Tier::{Disk, Object, Ram};
use payload_testkit::object::S3Server;
use payload_testkit::object::weather::{Fault, Which};
use payload_testkit::process::until;
use tempfile::TempDir;

use crate::bucket::{client, objects, section_with_urls, tiers};
use crate::support::local::Held;
use crate::support::refusal::{Answer, lease, moved};
use crate::support::samples::{acquire, allocate, commit, content, delete, get, release, to_tier};
use crate::support::{World, directory, used};

const MIB: usize = 1 << 20;

/// What a request meets while the server is killed: it has not been done, or it has.
const MOMENTS: [Fault; 2] = [Fault::Silence, Fault::WithholdAnswer];

struct Rig {
    world: World,
    server: S3Server,
    dir: TempDir,
}

impl Rig {
    fn start() -> Self {
        Self::with(World::with)
    }

    fn with(start: impl Fn(&str) -> World) -> Self {
        let (dir, server) = (directory(), S3Server::start());
        let config = section_with_urls(&server.endpoint(), &dir.path().join("keys"), "1s");
        let world = start(&config);
        Self { world, server, dir }
    }

    fn objects(&self) -> usize {
        objects(&self.server.endpoint(), &self.dir.path().join("keys")).len()
    }

    /// A payload that is in the bucket alone.
    fn spilled(&self, size: usize) -> String {
        let id = self.world.session().publish(&content(size, 1)).payload_id;
        self.spill(&id).unwrap();
        assert_eq!(tiers(&self.world, &id), [Object]);
        id
    }

    fn spill(&self, id: &str) -> Answer<v1::Payload> {
        moved(self.world.grpc().spill(to_tier(id, Object)).unwrap())
    }

    fn state(&self, id: &str) -> v1::State {
        self.world.grpc().get_payload(get(id)).unwrap().payload.unwrap().state()
    }

    /// The next request of a kind meets a fault while `call` is made; then the server is killed and started again.
    fn killed_while<T: Send + 'static>(
        self,
        which: Which,
        fault: Fault,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        self.server.weather().set(which, fault, 1);
        let calling = std::thread::spawn(call);
        until("the request to arrive", || {
            (self.server.weather().left() == 0).then_some(())
        });
        let Self { world, server, dir } = self;
        let world = world.kill_and_restart();
        drop(calling.join().unwrap());
        server.weather().clear();
        Self { world, server, dir }
    }
}

fn reads(world: &World, id: &str, size: usize, seed: u8) {
    let session = world.session();
    let held = session.lease(id);
    assert!(held.read() == content(size, seed), "{id}");
    session.release(release(&[&held.lease.lease_id])).unwrap();
}

#[test]
fn fault_04_a_server_that_is_killed_while_it_fetches_loses_nothing_and_leaves_nothing() {
    for fault in MOMENTS {
        let rig = Rig::start();
        let id = rig.spilled(3 * MIB);
        let (grpc, asked) = (rig.world.grpc(), id.clone());
        let rig = rig.killed_while(Which::Get, fault, move || grpc.promote(to_tier(&asked, Ram)));
        assert_eq!(tiers(&rig.world, &id), [Object], "{fault:?}");
        rig.world
            .await_stats("what was half fetched to go", |stats| used(stats, Ram) == 0);
        reads(&rig.world, &id, 3 * MIB, 1);
        assert_eq!(tiers(&rig.world, &id), [Ram, Object]);
    }
}

/// The row is gone before the object is, so whoever comes back has to remember it.
#[test]
fn fault_05_a_server_that_is_killed_while_it_deletes_removes_the_object_all_the_same() {
    for fault in MOMENTS {
        let rig = Rig::start();
        let id = rig.spilled(3 * MIB);
        let (grpc, asked) = (rig.world.grpc(), id.clone());
        let rig = rig.killed_while(Which::Remove, fault, move || grpc.delete_payload(delete(&asked)));
        until("the payload to be deleted", || {
            (rig.state(&id) == v1::State::Deleted).then_some(())
        });
        until("the object to go", || (rig.objects() == 0).then_some(()));
    }
}

#[test]
fn fault_37_a_server_that_is_killed_in_an_upload_of_parts_gives_it_up_when_it_is_back() {
    let size = 20 * MIB;
    for (which, fault) in [
        (Which::Part, Fault::Silence),
        (Which::Part, Fault::WithholdAnswer),
        (Which::Complete, Fault::Silence),
        (Which::Complete, Fault::WithholdAnswer),
    ] {
        let rig = Rig::start();
        let id = rig.world.session().publish(&content(size, 1)).payload_id;
        moved(rig.world.grpc().spill(to_tier(&id, Disk)).unwrap()).unwrap();
        let (grpc, asked) = (rig.world.grpc(), id.clone());
        let rig = rig.killed_while(which, fault, move || grpc.spill(to_tier(&asked, Object)));
        assert_eq!(tiers(&rig.world, &id), [Disk], "{which:?} {fault:?}");
        let bucket = client(&rig.server.endpoint(), &rig.dir.path().join("keys"));
        until("the upload to be given up", || {
            bucket.uploads(None, 10).unwrap().is_empty().then_some(())
        });
        until("what came of it to go", || (rig.objects() == 0).then_some(()));
        reads(&rig.world, &id, size, 1);
        rig.spill(&id).unwrap();
        assert_eq!((rig.objects(), bucket.uploads(None, 10).unwrap()), (1, Vec::new()));
    }
}

#[test]
fn fault_45_a_thousand_readers_of_what_is_in_the_bucket_make_one_request() {
    let rig = Rig::start();
    let id = rig.spilled(3 * MIB);
    let before = rig.server.weather().requests();
    let grpc = rig.world.grpc();
    let leases = grpc.runtime.block_on(async {
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..1_000 {
            let mut client = v1::data_service_client::DataServiceClient::new(grpc.channel.clone());
            let request = acquire(&[&id]);
            readers.spawn(async move { client.acquire(request).await.unwrap().into_inner() });
        }
        readers.join_all().await
    });
    assert_eq!(rig.server.weather().requests() - before, 1);
    assert_eq!(leases.len(), 1_000);
    for mut answer in leases {
        let lease = lease(answer.results.remove(0)).unwrap();
        assert_eq!(lease.descriptor.unwrap().tier(), Ram);
    }
}

/// Somebody who publishes and reads again and again, and what he was promised so far.
#[derive(Default)]
struct Ledger {
    kept: Mutex<Vec<(String, u8)>>,
    refused: Mutex<Vec<String>>,
}

impl Ledger {
    fn kept(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    fn refused(&self) -> usize {
        self.refused.lock().unwrap().len()
    }

    fn work(&self, world: &World, size: usize, first: u8, stop: &AtomicBool) {
        let session = world.session();
        let mut seed = first;
        while !stop.load(Ordering::Relaxed) {
            seed = seed.wrapping_add(4);
            let bytes = content(size, seed);
            let published = session.allocate(allocate(size as u64)).and_then(|(allocation, fd)| {
                Held::fill(&allocation, fd, &bytes);
                session.commit(commit(&allocation.payload_id))
            });
            match published {
                Ok(answer) => self
                    .kept
                    .lock()
                    .unwrap()
                    .push((answer.payload.unwrap().payload_id, seed)),
                Err(refusal) => self.refused.lock().unwrap().push(refusal.reason),
            }
        }
    }
}

/// RAM and disk hold fifteen, and the bucket is to take the rest. It is away until writers have been refused again and again; whoever was
/// told that his bytes are kept finds them when it is back.
#[test]
fn a_bucket_that_is_busy_for_long_under_load_loses_nothing_and_leaves_nothing_stuck() {
    let size = 3 * MIB;
    let small = "tiers.ram.capacity = \"16MiB\"\ntiers.disk.capacity = \"32MiB\"\nallocations.room_wait = \"100ms\"\n\
                 keeper.kind = \"none\"\n";
    let rig = Rig::with(|section| World::of(&format!("{small}{section}")));
    let (ledger, stop, weather) = (Ledger::default(), AtomicBool::new(false), rig.server.weather());
    std::thread::scope(|scope| {
        for first in 0..3 {
            let (ledger, stop, world) = (&ledger, &stop, &rig.world);
            scope.spawn(move || ledger.work(world, size, first, stop));
        }
        until("the bucket to be used", || (rig.objects() >= 5).then_some(()));
        weather.set_for_all(Which::Any, Fault::Refuse(503));
        let before = ledger.refused();
        until("the writers to be refused", || {
            (ledger.refused() >= before + 30).then_some(())
        });
        assert_eq!(rig.world.stats().tiers.len(), 3, "the server answers all the while");
        weather.clear();
        let before = ledger.kept();
        until("the writers to go on", || (ledger.kept() >= before + 20).then_some(()));
        stop.store(true, Ordering::Relaxed);
    });
    let refused = ledger.refused.into_inner().unwrap();
    assert!(refused.iter().all(|reason| reason == "TIER_FULL"), "{refused:?}");
    let kept = ledger.kept.into_inner().unwrap();
    for (id, seed) in &kept {
        reads(&rig.world, id, size, *seed);
        rig.world.grpc().delete_payload(delete(id)).unwrap();
    }
    until("the bucket to be empty", || (rig.objects() == 0).then_some(()));
    rig.world.await_stats("the tiers to be empty", |stats| {
        [Ram, Disk].iter().all(|tier| used(stats, *tier) == 0)
    });
}
