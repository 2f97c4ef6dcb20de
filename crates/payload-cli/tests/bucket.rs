//! The client library and the command line straight at a bucket.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::path::Path;

use payload_client::{
    AcquireOptions, AllocateOptions, Client, CommitOptions, Endpoint, InBucket, PayloadId, Reason, Tier, v1,
};
use payload_testkit::object::S3Server;
use payload_testkit::object::server::{ACCESS_KEY, BUCKET, SECRET_KEY};
use payload_testkit::object::weather::{Fault, Which};
use payload_testkit::process::Authority;
use world::{World, bytes};

/// A server with an S3 server in this process for its bucket.
fn start() -> (World, S3Server) {
    start_with(S3Server::start(), |_| Vec::new())
}

/// With more environment for the server, made of the world's directory.
fn start_with(server: S3Server, more: impl Fn(&Path) -> Vec<(&'static str, String)>) -> (World, S3Server) {
    let world = World::with_env(|dir| {
        let mut env = vec![
            ("PAYLOADD_TIERS_OBJECT_URL", format!("s3://{BUCKET}")),
            ("PAYLOADD_TIERS_OBJECT_ENDPOINT", server.endpoint()),
            ("PAYLOADD_TIERS_OBJECT_ADDRESSING", "path".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ];
        env.extend(more(dir));
        env
    });
    (world, server)
}

/// Of a client alone: the S3 server has one of its own, and blocks while it starts.
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

async fn near(world: &World) -> Client {
    let client = Client::connect(world.endpoint()).await.unwrap();
    assert!(!client.is_remote());
    client
}

async fn far(world: &World) -> Client {
    let client = Client::connect(Endpoint::address(world.address())).await.unwrap();
    assert!(client.is_remote());
    client
}

fn in_bucket() -> AllocateOptions {
    AllocateOptions {
        tier: Some(Tier::Object),
        ..AllocateOptions::default()
    }
}

fn by_url() -> AcquireOptions {
    AcquireOptions {
        in_bucket: InBucket::ByUrl,
        ..AcquireOptions::default()
    }
}

async fn store(client: &Client, bytes: &[u8]) -> v1::Payload {
    let mut writer = client.allocate(bytes.len() as u64, in_bucket()).await.unwrap();
    writer.write(bytes).unwrap();
    writer.commit(CommitOptions::default()).await.unwrap()
}

fn id_of(payload: &v1::Payload) -> PayloadId {
    payload.payload_id.parse().unwrap()
}

fn tiers(payload: &v1::Payload) -> Vec<v1::Tier> {
    payload.replicas.iter().map(v1::Replica::tier).collect()
}

#[test]
fn clients_store_and_read_wherever_they_are() {
    let (world, _server) = start();
    runtime().block_on(async {
        for client in [near(&world).await, far(&world).await] {
            let stored = store(&client, &bytes(300_000)).await;
            assert_eq!(tiers(&stored), [v1::Tier::Object]);
            assert_eq!(stored.durability(), v1::Durability::ObjectStorage);
            let lease = client.acquire(id_of(&stored), by_url()).await.unwrap();
            assert!(*lease == bytes(300_000));
            lease.verify().unwrap();
            assert_eq!(lease.descriptor().tier(), v1::Tier::Object);
            lease.release().await.unwrap();
            // A part of what was allocated is a payload too.
            let mut writer = client.allocate(300_000, in_bucket()).await.unwrap();
            writer.write(&bytes(200_000)).unwrap();
            let part = CommitOptions {
                size: Some(200_000),
                ..CommitOptions::default()
            };
            let part = writer.commit(part).await.unwrap();
            assert!(*client.acquire(id_of(&part), by_url()).await.unwrap() == bytes(200_000));
        }
        assert_eq!(near(&world).await.admin().stats().await.unwrap().allocations, 0);
    });
}

#[test]
fn fault_35_a_client_goes_on_when_the_bucket_is_busy_and_asks_again_when_its_url_is_refused() {
    let (world, server) = start();
    runtime().block_on(async {
        let client = near(&world).await;
        server.weather().set(Which::Put, Fault::Refuse(503), 2);
        store(&client, &bytes(100_000)).await;
        server.weather().set(Which::Put, Fault::Refuse(403), 1);
        store(&client, &bytes(100_000)).await;
        // It was done, and nobody heard of it: the commit looks at what is there.
        server.weather().set(Which::Put, Fault::LoseAnswer, 1);
        let id = id_of(&store(&client, &bytes(100_000)).await);
        server.weather().set(Which::Get, Fault::CutAnswer, 1);
        assert!(*client.acquire(id, by_url()).await.unwrap() == bytes(100_000));
        assert_eq!(server.weather().left(), 0);
    });
}

#[test]
fn fault_39_a_client_never_takes_other_bytes_for_the_payload() {
    let (world, server) = start();
    runtime().block_on(async {
        let client = near(&world).await;
        let stored = store(&client, &bytes(100_000)).await;
        let object = stored.replicas[0].location.as_ref().unwrap().container_id.clone();
        let directory = std::fs::read_dir(server.bucket()).unwrap();
        let path = directory
            .map(|entry| entry.unwrap().path().join(&object))
            .find(|path| path.exists());
        std::fs::write(path.unwrap(), vec![0; 100_000]).unwrap();
        let error = client.acquire(id_of(&stored), by_url()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::BytesCorrupt, "{error}");
    });
}

#[test]
fn the_command_line_stores_and_reads_past_the_server() {
    let (world, _server) = start();
    let id = world.put(&bytes(300_000), &["--tier", "object"]);
    let out = world.path("out");
    world.ok(&["get", &id, "--from-bucket", "-O", out.to_str().unwrap()]);
    assert!(std::fs::read(out).unwrap() == bytes(300_000));
    let shown = world.ok(&["-o", "json", "show", &id]);
    assert!(
        shown.contains("\"OBJECT\"") && !shown.contains("\"RAM\""),
        "nothing was fetched: {shown}"
    );
}

/// The client trusts whom its machine trusts.
#[test]
fn the_command_line_reaches_a_bucket_behind_tls() {
    let authority = Authority::new();
    let (world, _server) = start_with(S3Server::start_tls(&authority.identity("127.0.0.1")), |dir| {
        let ca_file = dir.join("ca.pem");
        std::fs::write(&ca_file, authority.certificate()).unwrap();
        vec![("PAYLOADD_TIERS_OBJECT_CA_FILE", ca_file.display().to_string())]
    });
    let file = world.file("put", &bytes(300_000));
    let put = ["put", file.to_str().unwrap(), "--tier", "object"];
    let refused = world.run(&put);
    assert!(refused.code != 0, "{refused:?}");
    let run = |args: &[&str]| {
        world
            .command(args)
            .env("SSL_CERT_FILE", world.path("ca.pem"))
            .output()
            .unwrap()
    };
    let id = String::from_utf8(run(&put).stdout).unwrap();
    let got = run(&["get", id.trim(), "--from-bucket", "-O", "out"]);
    assert!(got.status.success(), "{got:?}");
    assert!(std::fs::read(world.path("out")).unwrap() == bytes(300_000));
}

#[test]
fn a_bucket_without_urls_says_so() {
    let world = World::with_bucket();
    let id = world.put(&bytes(300_000), &["--durability", "object"]);
    world.ok(&["spill", &id, "--to", "object"]);
    let file = world.path("out");
    let refused = world.run(&["get", &id, "--from-bucket", "-O", file.to_str().unwrap()]);
    assert!(refused.code != 0 && refused.stderr.contains("no URLs"), "{refused:?}");
    world.ok(&["get", &id, "-O", file.to_str().unwrap()]);
}
