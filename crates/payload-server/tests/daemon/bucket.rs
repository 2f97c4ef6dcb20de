//! The bucket of the object tier, as the programs see it: servers and a bucket, each of them in trouble.

use std::path::Path;

use payload_core::Span;
use payload_core::port::{ObjectKey, ObjectStore};
use payload_object::{Addressing, BucketOptions, BucketStore, Credentials, Place};
use payload_proto::v1;
use payload_proto::v1::Tier::{Disk, Object, Ram};
use payload_testkit::clock::ManualClock;
use payload_testkit::object::server::BUCKET;
use payload_testkit::object::weather::{Fault, Which};
use payload_testkit::object::{S3Server, SeaweedFs};
use payload_testkit::process::{Authority, Postgres, until};
use tempfile::TempDir;

use crate::support::refusal::{lease, moved};
use crate::support::samples::{acquire, content, delete, get, release, to_tier};
use crate::support::{CONFIG, World, data_dir, directory, setup};

/// Big enough for a segment or a file of its own, and for one request.
const SIZE: usize = 3 << 20;

/// A section that names a server's bucket, with keys in a file. There are no URLs, so what is removed goes at once.
fn section(endpoint: &str, keys: &Path) -> String {
    section_with_urls(endpoint, keys, "0s")
}

/// The same with URLs that are good for so long.
pub(crate) fn section_with_urls(endpoint: &str, keys: &Path, term: &str) -> String {
    S3Server::write_keys(keys);
    format!(
        "[tiers.object]\nurl = \"s3://{BUCKET}\"\nendpoint = \"{endpoint}\"\naddressing = \"path\"\nprefix = \"a/b\"\n\
         credentials = \"{}\"\ntimeout = \"2s\"\nurl_term = \"{term}\"\n",
        keys.display()
    )
}

/// What is in the bucket.
pub(crate) fn objects(endpoint: &str, keys: &Path) -> Vec<ObjectKey> {
    let listed = client(endpoint, keys).list(None, 1_000).unwrap();
    listed.into_iter().map(|object| object.key).collect()
}

/// A client of the test's own.
pub(crate) fn client(endpoint: &str, keys: &Path) -> BucketStore {
    let options = BucketOptions {
        place: Place::S3 {
            bucket: BUCKET.to_owned(),
        },
        prefix: "a/b".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        region: None,
        addressing: Addressing::Path,
        ca_file: None,
        credentials: Credentials::File(keys.to_owned()),
        concurrency: 1,
        part_size: 8 << 20,
        budget: Span::from_secs(30),
    };
    BucketStore::open(options, std::sync::Arc::new(ManualClock::default())).unwrap()
}

pub(crate) fn tiers(world: &World, id: &str) -> Vec<v1::Tier> {
    let row = world.grpc().get_payload(get(id)).unwrap().payload.unwrap();
    let mut tiers: Vec<v1::Tier> = row.replicas.iter().map(v1::Replica::tier).collect();
    tiers.sort_unstable();
    tiers
}

fn spill(world: &World, id: &str) {
    moved(world.grpc().spill(to_tier(id, Object)).unwrap()).unwrap();
    assert_eq!(tiers(world, id), [Object]);
}

fn reads(world: &World, id: &str, seed: u8) {
    let session = world.session();
    let held = session.lease(id);
    assert!(held.read() == content(SIZE, seed), "{id}");
    session.release(release(&[&held.lease.lease_id])).unwrap();
}

#[test]
fn a_bucket_is_asked_whether_it_will_do_before_anything_rests_on_it() {
    let dir = directory();
    let server = S3Server::start();
    let keys = dir.path().join("keys");
    let setup = setup(&data_dir(&dir)).config(&section(&server.endpoint(), &keys));
    let ask = || {
        let output = setup.run_mode_with("check-config", &["--probe"]);
        let told = String::from_utf8(output.stdout).unwrap();
        let findings: Vec<String> = told
            .lines()
            .filter(|line| line.starts_with("# "))
            .map(str::to_owned)
            .collect();
        (output.status.code(), findings)
    };
    let (code, findings) = ask();
    assert_eq!(code, Some(0), "{findings:?}");
    for step in [
        "reach",
        "clock",
        "conditional put",
        "conditional multipart",
        "list uploads",
        "delete",
    ] {
        assert!(findings.contains(&format!("# {step}: good")), "{step}: {findings:?}");
    }
    server.weather().set_for_all(Which::Any, Fault::ForgetObject);
    let (code, findings) = ask();
    assert_eq!(code, Some(1), "{findings:?}");
    assert!(
        findings.iter().any(|line| line.contains("ignores If-None-Match")),
        "{findings:?}"
    );
    server.weather().clear();
    std::fs::write(&keys, "aws_access_key_id = nobody\naws_secret_access_key = x\n").unwrap();
    let (code, findings) = ask();
    assert_eq!(code, Some(1), "{findings:?}");
    assert!(
        findings.iter().any(|line| line.starts_with("# reach: ")),
        "{findings:?}"
    );
    assert!(!data_dir(&dir).exists());
}

#[test]
fn a_bucket_that_lets_objects_be_replaced_is_refused() {
    let dir = directory();
    let server = S3Server::start();
    server.weather().set_for_all(Which::Any, Fault::ForgetObject);
    let config = section(&server.endpoint(), &dir.path().join("keys"));
    let output = setup(&data_dir(&dir)).config(&format!("{CONFIG}{config}")).run();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{told}");
    assert!(told.contains("ignores If-None-Match"), "{told}");
}

/// A server whose bucket is in the test's own process.
struct Rig {
    world: World,
    server: S3Server,
    dir: TempDir,
}

impl Rig {
    fn start() -> Self {
        let (dir, server) = (directory(), S3Server::start());
        let config = section(&server.endpoint(), &dir.path().join("keys"));
        let world = World::with(&config);
        Self { world, server, dir }
    }

    fn objects(&self) -> Vec<ObjectKey> {
        objects(&self.server.endpoint(), &self.dir.path().join("keys"))
    }

    /// Requests that came while something was done.
    fn requests(&self, act: impl FnOnce()) -> u64 {
        let before = self.server.weather().requests();
        act();
        self.server.weather().requests() - before
    }
}

/// No look and no listing, neither before nor after.
#[test]
fn a_payload_goes_to_the_bucket_with_one_request_and_comes_back_with_one() {
    let rig = Rig::start();
    let id = rig.world.session().publish(&content(SIZE, 1)).payload_id;
    assert_eq!(rig.requests(|| spill(&rig.world, &id)), 1);
    assert_eq!(rig.requests(|| reads(&rig.world, &id, 1)), 1);
    assert_eq!(tiers(&rig.world, &id), [Ram, Object]);
    assert_eq!(rig.requests(|| reads(&rig.world, &id, 1)), 0);
}

#[test]
fn fault_35_a_bucket_that_is_away_harms_nobody_else_and_heals() {
    let rig = Rig::start();
    let (world, weather) = (&rig.world, rig.server.weather());
    let session = world.session();
    let before = session.publish(&content(SIZE, 1)).payload_id;
    spill(world, &before);
    weather.set_for_all(Which::Any, Fault::Refuse(503));
    let during = session.publish(&content(SIZE, 2)).payload_id;
    let refusal = moved(world.grpc().spill(to_tier(&during, Object)).unwrap()).unwrap_err();
    assert_eq!(refusal.reason, "OBJECT_STORE_UNAVAILABLE", "{refusal:?}");
    assert_eq!(tiers(world, &during), [Ram]);
    moved(world.grpc().spill(to_tier(&during, Disk)).unwrap()).unwrap();
    reads(world, &during, 2);
    weather.clear();
    until("the bucket to be asked again", || {
        moved(world.grpc().spill(to_tier(&during, Object)).unwrap()).ok()
    });
    reads(world, &before, 1);
    reads(world, &during, 2);
}

/// The bucket is late: nothing waits for it to start.
#[test]
fn fault_58_a_server_starts_without_its_bucket_and_uses_it_when_it_is_there() {
    let (dir, server) = (directory(), S3Server::start());
    server.weather().set_for_all(Which::Any, Fault::CutRequest);
    let world = World::with(&section(&server.endpoint(), &dir.path().join("keys")));
    let id = world.session().publish(&content(SIZE, 1)).payload_id;
    reads(&world, &id, 1);
    server.weather().clear();
    until("the bucket to be asked again", || {
        moved(world.grpc().spill(to_tier(&id, Object)).unwrap()).ok()
    });
    reads(&world, &id, 1);
}

/// Before the bucket has it, and after: the payload stays where it was, and what came of the upload goes.
#[test]
fn fault_03_a_server_that_is_killed_while_it_uploads_loses_nothing_and_leaves_nothing() {
    for fault in [Fault::Silence, Fault::WithholdAnswer] {
        let mut rig = Rig::start();
        let id = rig.world.session().publish(&content(SIZE, 1)).payload_id;
        moved(rig.world.grpc().spill(to_tier(&id, Disk)).unwrap()).unwrap();
        rig.server.weather().set(Which::Put, fault, 1);
        let grpc = rig.world.grpc();
        let request = to_tier(&id, Object);
        let spilling = std::thread::spawn(move || grpc.spill(request));
        until("the upload to arrive", || {
            (rig.server.weather().left() == 0).then_some(())
        });
        if fault == Fault::WithholdAnswer {
            until("the object to be there", || (rig.objects().len() == 1).then_some(()));
        }
        rig.world = rig.world.kill_and_restart();
        spilling.join().unwrap().unwrap_err();
        rig.server.weather().clear();
        assert_eq!(tiers(&rig.world, &id), [Disk], "{fault:?}");
        until("the upload's rest to go", || rig.objects().is_empty().then_some(()));
        reads(&rig.world, &id, 1);
        // What it inherited stays for the grace time, in case that somebody held it.
        until("the payload to be in the bucket alone", || {
            moved(rig.world.grpc().spill(to_tier(&id, Object)).unwrap()).unwrap();
            (tiers(&rig.world, &id) == [Object]).then_some(())
        });
        reads(&rig.world, &id, 1);
        assert_eq!(rig.objects().len(), 1);
    }
}

/// RAM for five payloads and disk for ten; thirty are written.
#[test]
fn what_ram_and_disk_cannot_hold_goes_to_a_bucket_and_comes_back() {
    let (dir, server) = (directory(), SeaweedFs::start());
    let keys = dir.path().join("keys");
    let small = "tiers.ram.capacity = \"16MiB\"\ntiers.disk.capacity = \"32MiB\"\n\
                 allocations.room_wait = \"1m\"\nkeeper.kind = \"none\"\n";
    let mut world = World::of(&format!("{small}{}", section(&server.endpoint(), &keys)));
    let session = world.session();
    let ids: Vec<String> = (0..30)
        .map(|seed| session.publish(&content(SIZE, seed)).payload_id)
        .collect();
    drop(session);
    for (seed, id) in (0..).zip(&ids) {
        reads(&world, id, seed);
    }
    assert!(objects(&server.endpoint(), &keys).len() >= 14);
    // What was in RAM alone ends with a server that has no keeper; what is below stays.
    let lasting: Vec<bool> = ids.iter().map(|id| tiers(&world, id) != [Ram]).collect();
    world = world.kill_and_restart();
    for ((seed, id), lasting) in (0..).zip(&ids).zip(lasting) {
        if lasting {
            reads(&world, id, seed);
        }
        world.grpc().delete_payload(delete(id)).unwrap();
    }
    until("the bucket to be empty", || {
        objects(&server.endpoint(), &keys).is_empty().then_some(())
    });
}

/// Nobody takes a bucket that is not there for one that has lost its objects.
#[test]
fn fault_39_a_bucket_that_vanishes_for_a_while_loses_no_payload() {
    let (dir, server) = (directory(), S3Server::start());
    let config = section_with_urls(&server.endpoint(), &dir.path().join("keys"), "1h");
    let world = World::with(&config);
    let id = world.session().publish(&content(SIZE, 1)).payload_id;
    spill(&world, &id);
    server.weather().set_for_all(Which::Any, Fault::NoBucket);
    let by_url = v1::AcquireRequest {
        from_bucket: true,
        ..acquire(&[&id])
    };
    for request in [by_url.clone(), acquire(&[&id])] {
        let refused = lease(world.grpc().acquire(request).unwrap().results.remove(0)).unwrap_err();
        assert_eq!(refused.reason, "OBJECT_STORE_UNFIT", "{refused:?}");
    }
    server.weather().clear();
    lease(world.grpc().acquire(by_url).unwrap().results.remove(0)).unwrap();
    reads(&world, &id, 1);
}

/// The server's certificate is vouched for by somebody whom this machine does not know.
#[test]
fn a_bucket_behind_tls_is_used_by_who_trusts_its_authority() {
    let (dir, authority) = (directory(), Authority::new());
    let server = S3Server::start_tls(&authority.identity("127.0.0.1"));
    let config = section(&server.endpoint(), &dir.path().join("keys"));
    let world = World::with(&config);
    let id = world.session().publish(&content(SIZE, 1)).payload_id;
    let refused = moved(world.grpc().spill(to_tier(&id, Object)).unwrap()).unwrap_err();
    assert_eq!(refused.reason, "OBJECT_STORE_UNAVAILABLE");
    drop(world);
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, authority.certificate()).unwrap();
    let world = World::with(&format!("{config}ca_file = \"{}\"\n", ca_file.display()));
    let id = world.session().publish(&content(SIZE, 1)).payload_id;
    spill(&world, &id);
    reads(&world, &id, 1);
}

/// What is in the bucket belongs to no server in particular.
#[test]
fn a_payload_in_the_bucket_is_read_and_deleted_by_every_server() {
    let (dir, server, postgres) = (directory(), S3Server::start(), Postgres::start());
    let keys = dir.path().join("keys");
    let config = format!(
        "[repository]\nurl = \"{}\"\n{}",
        postgres.url(),
        section(&server.endpoint(), &keys)
    );
    let (here, there) = (World::with(&config), World::with(&config));
    let id = here.session().publish(&content(SIZE, 1)).payload_id;
    spill(&here, &id);
    reads(&there, &id, 1);
    reads(&here, &id, 1);
    there.grpc().delete_payload(delete(&id)).unwrap();
    until("the bucket to be empty", || {
        objects(&server.endpoint(), &keys).is_empty().then_some(())
    });
}
