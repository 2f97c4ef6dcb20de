//! The client library without the local socket: the same leases and writers, over gRPC and the byte endpoint.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::os::unix::fs::FileExt;

use payload_client::{
    AcquireOptions, AllocateOptions, Client, CommitOptions, Digest, DigestChoice, Endpoint, LeaseState, PayloadId,
    PutOptions, Reason, v1,
};
use payload_core::Span;
use world::{World, bytes};

async fn far(world: &World) -> Client {
    let client = Client::connect(Endpoint::address(world.address())).await.unwrap();
    assert!(client.is_remote());
    client
}

fn id_of(payload: &v1::Payload) -> PayloadId {
    payload.payload_id.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_is_filled_in_place_and_committed_in_part() {
    let world = World::new();
    let (near, far) = (Client::connect(world.endpoint()).await.unwrap(), far(&world).await);
    let mut writer = far.allocate(300_000, AllocateOptions::default()).await.unwrap();
    writer.as_mut_slice().unwrap().copy_from_slice(&bytes(300_000));
    writer.write_at(10, b"changed").unwrap();
    let options = CommitOptions {
        size: Some(200_000),
        digest: DigestChoice::Compute,
        ..CommitOptions::default()
    };
    let id = id_of(&writer.commit(options).await.unwrap());

    let mut expected = bytes(200_000);
    expected[10..17].copy_from_slice(b"changed");
    for client in [&near, &far] {
        let lease = client.acquire(id, AcquireOptions::default()).await.unwrap();
        assert!(*lease == expected);
        lease.verify().unwrap();
        let (file, offset) = lease.to_file().unwrap().unwrap();
        let mut part = [0; 7];
        file.read_exact_at(&mut part, offset + 10).unwrap();
        assert_eq!(part, *b"changed");
        lease.release().await.unwrap();
    }
    assert_eq!(near.admin().stats().await.unwrap().leases, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_or_wrong_leaves_nothing() {
    let world = World::new();
    let far = far(&world).await;
    let writer = far.allocate(100_000, AllocateOptions::default()).await.unwrap();
    let aborted = writer.payload_id();
    writer.abort("changed its mind").await.unwrap();
    let mut writer = far.allocate(100_000, AllocateOptions::default()).await.unwrap();
    writer.write(&bytes(100_000)).unwrap();
    let refused = writer.payload_id();
    let options = CommitOptions {
        digest: DigestChoice::Given(Digest::of(b"something else")),
        ..CommitOptions::default()
    };
    let error = writer.commit(options).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DigestMismatch);
    for id in [aborted, refused] {
        while far.catalog().get(id).await.unwrap().state != v1::State::Aborted as i32 {
            tokio::task::yield_now().await;
        }
        let error = far.acquire(id, AcquireOptions::default()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::PayloadAborted);
    }
    let used = async || {
        let tiers = far.admin().stats().await.unwrap().tiers;
        tiers.iter().map(|tier| tier.used_bytes).sum::<u64>()
    };
    while used().await > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_from_afar_is_renewed_and_revoked_like_others() {
    let world = World::new();
    let far = far(&world).await;
    let id = id_of(&far.put(&bytes(100_000), PutOptions::default()).await.unwrap());
    let options = AcquireOptions {
        ttl: Some(Span::from_millis(300)),
        ..AcquireOptions::default()
    };
    let lease = far.acquire(id, options).await.unwrap();
    let held = loop {
        let held = far.admin().leases(Some(id), 0, "").await.unwrap().leases;
        // Four terms.
        if held[0].age_ms > 1_200 {
            break held;
        }
    };
    assert_eq!(lease.state(), LeaseState::Live);
    far.admin().revoke(held[0].lease_serial, "test").await.unwrap();
    while lease.state() == LeaseState::Live {
        tokio::task::yield_now().await;
    }
    assert!(*lease == bytes(100_000), "the copy stays");
}
