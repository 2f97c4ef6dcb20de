//! The client library over real restarts of a real server.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::io::Read;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};

use payload_client::{
    AcquireOptions, AllocateOptions, Client, ClientOptions, CommitOptions, Endpoint, LeaseState, ListOptions,
    PayloadId, PutOptions, Reason, Tier,
};
use world::{World, bytes};

fn on_disk() -> PutOptions {
    PutOptions {
        tier: Some(Tier::Disk),
        ..PutOptions::default()
    }
}

fn id_of(payload: &payload_client::v1::Payload) -> PayloadId {
    payload.payload_id.parse().unwrap()
}

#[tokio::test]
async fn fault_21_leases_survive_a_killed_server_if_their_bytes_do() {
    let mut world = World::new();
    let client = Client::connect(world.endpoint()).await.unwrap();
    let large = id_of(&client.put(&bytes(200_000), on_disk()).await.unwrap());
    let small = id_of(&client.put(&bytes(5_000), on_disk()).await.unwrap());
    let volatile = id_of(&client.put(&bytes(100_000), PutOptions::default()).await.unwrap());
    let mut leases = Vec::new();
    for id in [large, small, volatile] {
        leases.push(client.acquire(id, AcquireOptions::default()).await.unwrap());
    }
    let options = AllocateOptions {
        tier: Some(Tier::Disk),
        ..AllocateOptions::default()
    };
    let mut writer = client.allocate(100_000, options).await.unwrap();
    writer.write(&bytes(100_000)[..50_000]).unwrap();

    world.kill();
    world.start();
    // An answer from the new server comes after the reclaim.
    let again = client.acquire(large, AcquireOptions::default()).await.unwrap();
    assert!(*again == bytes(200_000));
    let states: Vec<_> = leases.iter().map(|lease| lease.state()).collect();
    assert_eq!(
        states,
        [LeaseState::Live, LeaseState::Live, LeaseState::Lost],
        "memory died with its only holder"
    );
    assert!(*leases[0] == bytes(200_000) && *leases[1] == bytes(5_000) && *leases[2] == bytes(100_000));
    assert!(leases[2].check().is_err());

    // A file without a name dies with the server that has it open, and the writer learns that.
    let error = writer.commit(CommitOptions::default()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::PayloadAborted);
    drop(again);
    for lease in leases {
        lease.release().await.unwrap();
    }
    while client.admin().stats().await.unwrap().leases > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_2_no_acknowledged_payload_is_lost_and_none_doubled_over_kills() {
    let mut world = World::new();
    let client = Client::connect(world.endpoint()).await.unwrap();
    let putter = client.clone();
    let (acknowledged, seen) = tokio::sync::watch::channel(0u32);
    let puts = tokio::spawn(async move {
        let mut ids = Vec::new();
        for n in 0..60u32 {
            let size = if n % 3 == 0 { 70_000 } else { 100 };
            let payload = putter.put(&n.to_be_bytes().repeat(size / 4), on_disk()).await.unwrap();
            ids.push(id_of(&payload));
            acknowledged.send(n).unwrap();
        }
        ids
    });
    for at in [10, 30] {
        seen.clone().wait_for(|n| *n >= at).await.unwrap();
        world.kill();
        world.start();
    }
    let ids = puts.await.unwrap();
    for (n, id) in ids.iter().enumerate() {
        let lease = client.acquire(*id, AcquireOptions::default()).await.unwrap();
        assert_eq!(lease[..4], (n as u32).to_be_bytes());
        lease.verify().unwrap();
    }
    let options = ListOptions {
        state: payload_client::v1::State::Active,
        page_size: 1_000,
        ..ListOptions::default()
    };
    let active = client.catalog().list(&options, "").await.unwrap();
    assert_eq!(active.payloads.len(), ids.len());
}

#[tokio::test]
async fn a_client_that_keeps_no_mapping_gets_a_descriptor_every_time() {
    let world = World::new();
    let options = ClientOptions {
        idle_containers_max: 0,
        ..ClientOptions::default()
    };
    let client = Client::connect_with(world.endpoint(), options).await.unwrap();
    let id = id_of(&client.put(&bytes(100_000), PutOptions::default()).await.unwrap());
    for _ in 0..10 {
        let lease = client.acquire(id, AcquireOptions::default()).await.unwrap();
        assert!(*lease == bytes(100_000));
    }
    // Many at once, whose answers and forgets overtake each other.
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    let lease = client.acquire(id, AcquireOptions::default()).await.unwrap();
                    assert!(lease.len() == 100_000 && lease[99_999] == bytes(100_000)[99_999]);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_reader_may_come_before_the_commit() {
    let world = World::new();
    let client = Client::connect(world.endpoint()).await.unwrap();
    let mut writer = client.allocate(100_000, AllocateOptions::default()).await.unwrap();
    let options = AcquireOptions {
        wait: std::time::Duration::from_secs(60),
        ..AcquireOptions::default()
    };
    let id = writer.payload_id();
    let reader = client.clone();
    let reading = tokio::spawn(async move { reader.acquire(id, options).await.unwrap() });
    writer.as_mut_slice().unwrap().copy_from_slice(&bytes(100_000));
    writer.commit(CommitOptions::default()).await.unwrap();
    assert!(*reading.await.unwrap() == bytes(100_000));
}

#[tokio::test]
async fn a_batch_gets_what_is_there_and_reasons_for_the_rest() {
    let world = World::new();
    let client = Client::connect(world.endpoint()).await.unwrap();
    let mut ids = Vec::new();
    for n in 0..100u8 {
        ids.push(id_of(&client.put(&[n; 3000], PutOptions::default()).await.unwrap()));
    }
    ids.push(PayloadId::from_parts(1, [7; 10]));
    let leases = client.acquire_many(&ids, AcquireOptions::default()).await.unwrap();
    for (n, lease) in leases[..100].iter().enumerate() {
        assert_eq!(**lease.as_ref().unwrap(), [n as u8; 3000]);
    }
    assert_eq!(leases[100].as_ref().unwrap_err().reason(), Reason::PayloadNotFound);
    drop(leases);
    while client.admin().stats().await.unwrap().leases > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn fault_23_bytes_that_somebody_can_still_change_are_not_committed() {
    let world = World::new();
    let client = Client::connect(world.endpoint()).await.unwrap();
    let options = AllocateOptions {
        tier: Some(Tier::Disk),
        ..AllocateOptions::default()
    };
    let mut writer = client.allocate(100_000, options).await.unwrap();
    let stray = writer.as_fd().unwrap().0.try_clone_to_owned().unwrap();
    let error = writer.commit(CommitOptions::default()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::WriterMapped);
    drop(stray);
}

#[tokio::test]
async fn fault_21_memory_leases_and_writers_survive_a_killed_server_that_is_kept() {
    let world = World::kept();
    let client = Client::connect(world.endpoint()).await.unwrap();
    let large = id_of(&client.put(&bytes(3_000_000), PutOptions::default()).await.unwrap());
    let small = id_of(&client.put(&bytes(70), PutOptions::default()).await.unwrap());
    let leases = [
        client.acquire(large, AcquireOptions::default()).await.unwrap(),
        client.acquire(small, AcquireOptions::default()).await.unwrap(),
    ];
    let mut writer = client.allocate(200_000, AllocateOptions::default()).await.unwrap();
    writer.write(&bytes(200_000)[..120_000]).unwrap();

    for _ in 0..3 {
        world.kill_serving();
        // An answer from the new server comes after the reclaim.
        let again = client.acquire(large, AcquireOptions::default()).await.unwrap();
        assert!(*again == bytes(3_000_000));
        assert!(
            leases.iter().all(|lease| lease.state() == LeaseState::Live),
            "{leases:?}"
        );
        assert!(*leases[0] == bytes(3_000_000) && *leases[1] == bytes(70));
        again.release().await.unwrap();
    }
    let held = client.admin().leases(None, 0, "").await.unwrap().leases;
    assert_eq!(held.len(), 2, "the reclaimed ones and no others");

    writer.write(&bytes(200_000)[120_000..]).unwrap();
    let late = id_of(&writer.commit(CommitOptions::default()).await.unwrap());
    assert!(*client.acquire(late, AcquireOptions::default()).await.unwrap() == bytes(200_000));
}

#[test]
fn a_command_waits_for_a_killed_server_to_come_back() {
    let world = World::kept();
    let pid = world.serving_pid().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let ran = world.run(&["ls"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

/// Listens where `world`'s server would, and lets a request die on its connection before it passes the next one on.
fn break_first_request(world: &World, listener: UnixListener) {
    let server = world.data().join("grpc.sock");
    std::thread::spawn(move || {
        // The client of HTTP/2 speaks first: its preface is there, so the connection was made.
        let (mut dying, _) = listener.accept().unwrap();
        dying.read_exact(&mut [0; 24]).unwrap();
        drop(dying);

        let (client, _) = listener.accept().unwrap();
        let server = UnixStream::connect(&server).unwrap();
        let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut &server, &mut &client));
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_question_is_asked_again_when_its_connection_breaks() {
    let world = World::new();
    let front = world.path("front.sock");
    break_first_request(&world, UnixListener::bind(&front).unwrap());
    let text = std::fs::read(world.endpoint_file()).unwrap();
    let mut endpoint: serde_json::Value = serde_json::from_slice(&text).unwrap();
    endpoint["grpc_socket"] = front.to_str().unwrap().into();
    let file = world.file("front.json", endpoint.to_string().as_bytes());
    let admin = payload_client::Admin::new(Endpoint::file(file), &payload_client::ClientOptions::default());
    assert_eq!(admin.stats().await.unwrap().leases, 0);
}
