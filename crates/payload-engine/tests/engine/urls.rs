//! Clients straight at the bucket: what they are given to read and to store with, and how long an object outlives that.

use std::sync::Arc;

use payload_core::port::{ObjectKey, SignedRead, SignedRequest};
use payload_core::{Digest, Durability, Namespace, Payload, PayloadId, Reason, Span, StateKind, Tier};
use payload_engine::{Access, AcquireOptions, Allocation, CommitRequest, Filling, Grant, Holder, InBucket};
use payload_testkit::faulty::{MapBucket, Moment};

use crate::common::calls::allocate_request;
use crate::common::{Rig, Setup, alice, bytes, refusal, secs};

const MIB: u64 = 1 << 20;
/// How long a URL is good for in these tests.
const TERM: Span = Span::from_secs(60);
/// How long the sweep leaves an object alone that somebody may still be storing.
const SLOWEST: Span = Span::from_secs(3_600);

fn setup() -> Setup {
    Setup {
        url_term: TERM,
        ..Setup::with_bucket()
    }
}

/// A payload that is in the bucket alone.
fn spilled(rig: &Rig, session: &Arc<Holder>, seed: u64) -> PayloadId {
    let id = rig.put_large(session, MIB, seed).id;
    rig.spill(&Namespace::default(), id, Tier::Object).unwrap();
    id
}

fn by_url(rig: &Rig, holder: &Arc<Holder>, id: PayloadId, ttl: Option<Span>) -> payload_core::Result<Grant> {
    let options = AcquireOptions {
        ttl,
        in_bucket: InBucket::ByUrl,
        ..AcquireOptions::default()
    };
    rig.acquire(holder, &Namespace::default(), id, options)
}

#[track_caller]
fn url(grant: &Grant) -> &SignedRead {
    match &grant.access {
        Access::Url(read) => read,
        other => panic!("{other:?} is no URL"),
    }
}

fn in_bucket(rig: &Rig) -> Vec<ObjectKey> {
    rig.bucket.keys()
}

fn tiers(row: &Payload) -> Vec<Tier> {
    row.replicas.iter().map(payload_core::Replica::tier).collect()
}

/// Room in the bucket, and the request that fills it.
fn allocated(rig: &Rig, holder: &Arc<Holder>, size: u64) -> (Allocation, SignedRequest) {
    let request = allocate_request(size, Tier::Object, Durability::Object);
    let mut allocation = rig.allocate(holder, &request).unwrap();
    match std::mem::replace(&mut allocation.filling, Filling::Nothing) {
        Filling::Url(request) => (allocation, request),
        other => panic!("{other:?} is no URL"),
    }
}

fn store(rig: &Rig, request: &SignedRequest, content: Vec<u8>) {
    rig.bucket.tamper(&MapBucket::key_of(request), Some(content));
}

fn commit_of(allocation: &Allocation) -> CommitRequest {
    CommitRequest {
        namespace: Namespace::default(),
        request_id: None,
        payload: allocation.row.id,
        token: Some(allocation.token),
        size: None,
        digest: None,
        lineage: None,
        naming: None,
        publish: None,
        metadata: None,
    }
}

#[test]
fn a_payload_in_the_bucket_alone_is_leased_where_it_is() {
    let rig = setup().start();
    let session = rig.session();
    let id = spilled(&rig, &session, 1);
    let grant = by_url(&rig, &session, id, None).unwrap();
    let read = url(&grant);
    assert_eq!(in_bucket(&rig), [MapBucket::key_of(&read.request)]);
    assert_eq!(read.request.valid, TERM, "nothing else ends the lease");
    assert_eq!(rig.switch.calls("bucket.read"), 0, "nothing was fetched");
    assert_eq!(tiers(&rig.repository().get(id).unwrap().unwrap()), [Tier::Object]);
    // Who does not ask for it gets a descriptor, and so does everybody once there is one.
    let other = rig.lease(&session, id).unwrap();
    assert!(matches!(other.access, Access::Descriptor(_)));
    assert!(matches!(
        by_url(&rig, &rig.session(), id, None).unwrap().access,
        Access::Descriptor(_)
    ));
}

#[test]
fn fault_38_a_url_ends_with_its_lease() {
    let rig = setup().start();
    let session = rig.session();
    let id = spilled(&rig, &session, 1);
    let remote = rig.remote(&alice());
    let grant = by_url(&rig, &remote, id, Some(secs(7))).unwrap();
    assert_eq!(url(&grant).request.valid, secs(7));
    let usual = by_url(&rig, &remote, id, None).unwrap();
    assert_eq!(url(&usual).request.valid, secs(30));
    assert_eq!(
        refusal(by_url(&rig, &remote, id, Some(Span::from_millis(999)))),
        Reason::BadDuration
    );
}

#[test]
fn nobody_is_given_the_url_of_an_object_that_is_gone() {
    let rig = setup().start();
    let session = rig.session();
    let id = spilled(&rig, &session, 1);
    rig.bucket.tamper(&in_bucket(&rig)[0], None);
    assert_eq!(refusal(by_url(&rig, &session, id, None)), Reason::BytesMissing);
    assert_eq!(rig.repository().get(id).unwrap().unwrap().state.kind(), StateKind::Lost);
}

#[test]
fn small_payloads_of_one_object_are_read_one_by_one() {
    let rig = setup().start();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..3).map(|seed| rig.put_small(&session, seed).id).collect();
    for moved in rig.spill_all(&Namespace::default(), &ids, Tier::Object) {
        moved.unwrap();
    }
    assert_eq!(in_bucket(&rig).len(), 1);
    for id in ids {
        let grant = by_url(&rig, &session, id, None).unwrap();
        let offset = grant.replica().location.offset();
        let range = format!("bytes={offset}-{}", offset + grant.row.size - 1);
        assert_eq!(url(&grant).request.headers, [("range".to_owned(), range)]);
    }
}

#[test]
fn a_deletion_waits_for_the_lease_and_the_object_for_the_url() {
    let rig = setup().start();
    let session = rig.session();
    let id = spilled(&rig, &session, 1);
    let grant = by_url(&rig, &session, id, None).unwrap();
    rig.remove(id).unwrap();
    rig.quiesce();
    let state = || rig.repository().get(id).unwrap().unwrap().state.kind();
    assert_eq!(state(), StateKind::Deleting);
    rig.release(&session, grant.lease).unwrap();
    rig.tick();
    assert_eq!(state(), StateKind::Deleted);
    assert_eq!(in_bucket(&rig).len(), 1, "the URL may be with anybody");
    rig.advance(TERM - secs(1));
    assert_eq!(in_bucket(&rig).len(), 1);
    rig.advance(secs(1));
    assert_eq!(in_bucket(&rig), []);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

/// Neither the holder's death nor the server's makes the URL worthless.
#[test]
fn a_url_whose_holder_vanished_still_holds_the_object_until_it_expires() {
    let mut rig = setup().start();
    let session = rig.session();
    let id = spilled(&rig, &session, 1);
    by_url(&rig, &session, id, None).unwrap();
    rig.close_session(&session);
    rig.remove(id).unwrap();
    rig.tick();
    assert_eq!(
        rig.repository().get(id).unwrap().unwrap().state.kind(),
        StateKind::Deleted
    );
    rig.advance(secs(30));
    assert_eq!(in_bucket(&rig).len(), 1);
    let usage = rig.store(Tier::Object).usage();
    assert_eq!((usage.used, usage.zombie), (MIB, MIB), "it is shown, and charged");
    rig.restart();
    rig.advance(TERM - secs(1));
    assert_eq!(in_bucket(&rig).len(), 1, "nobody knows when the server stopped");
    rig.advance(secs(1));
    assert_eq!(in_bucket(&rig), []);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_server_without_urls_refuses_them_and_lets_nothing_linger() {
    let rig = Setup::with_bucket().start();
    let session = rig.session();
    let id = spilled(&rig, &session, 1);
    assert_eq!(refusal(by_url(&rig, &session, id, None)), Reason::ObjectUrlsUnsupported);
    let request = allocate_request(MIB, Tier::Object, Durability::Object);
    assert_eq!(refusal(rig.allocate(&session, &request)), Reason::ObjectUrlsUnsupported);
    rig.remove(id).unwrap();
    rig.tick();
    assert_eq!(in_bucket(&rig), []);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn what_a_client_has_stored_is_looked_at_before_it_counts() {
    let rig = setup().start();
    let session = rig.session();
    let (allocation, request) = allocated(&rig, &session, 1_000);
    let content = bytes(1, 1_000);
    let commit = || rig.commit(&session, &commit_of(&allocation));
    assert_eq!(refusal(commit()), Reason::NotUploaded);
    store(&rig, &request, content[..999].to_vec());
    assert_eq!(refusal(commit()), Reason::BadSize);
    store(&rig, &request, vec![0; 1_000]);
    let named = CommitRequest {
        digest: Some(Digest::of(&content)),
        ..commit_of(&allocation)
    };
    assert_eq!(refusal(rig.commit(&session, &named)), Reason::DigestMismatch);
    store(&rig, &request, content.clone());
    let row = rig.commit(&session, &named).unwrap();
    assert_eq!((tiers(&row), row.durability), (vec![Tier::Object], Durability::Object));
    assert_eq!(row.digest, Some(Digest::of(&content)));
    assert_eq!(rig.content(&session, row.id), content);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_url_to_store_with_ends_with_its_allocation_and_can_be_had_again() {
    let rig = setup().start();
    let session = rig.session();
    let mut request = allocate_request(1_000, Tier::Object, Durability::Object);
    request.timeout = Some(secs(90));
    request.request_id = Some("a1".parse().unwrap());
    let valid = |allocation: &Allocation| match &allocation.filling {
        Filling::Url(request) => request.valid,
        other => panic!("{other:?} is no URL"),
    };
    let first = rig.allocate(&session, &request).unwrap();
    assert_eq!(valid(&first), TERM);
    rig.advance(secs(70));
    let again = rig.allocate(&session, &request).unwrap();
    assert_eq!((again.row.id, valid(&again)), (first.row.id, secs(20)));
}

/// However the allocation ended, and whenever the bytes come: no row names them, and they go.
#[test]
fn what_is_stored_into_an_allocation_that_has_ended_goes() {
    let mut rig = setup().start();
    let session = rig.session();
    let (allocation, request) = allocated(&rig, &session, MIB);
    store(&rig, &request, bytes(1, MIB));
    rig.switch.fail_next("bucket.remove", Moment::Before);
    rig.close_session(&session);
    rig.run_timers();
    rig.run_drains();
    assert_eq!(refusal(rig.sweep()), Reason::Internal, "it is tried again");
    rig.tick();
    assert_eq!(in_bucket(&rig), [], "what was there goes at once");
    rig.tick();
    store(&rig, &request, bytes(1, MIB));
    rig.restart();
    rig.advance(TERM + SLOWEST - secs(1));
    assert_eq!(in_bucket(&rig).len(), 1, "it may still be coming");
    rig.advance(secs(1));
    assert_eq!(in_bucket(&rig), []);
    let session = rig.session();
    assert_eq!(
        refusal(rig.commit(&session, &commit_of(&allocation))),
        Reason::PayloadAborted
    );
    rig.quiesce();
    rig.check_at_rest();
}

/// The bucket need not answer for that.
#[test]
fn an_allocation_in_the_bucket_outlives_the_server() {
    let mut rig = setup().start();
    let session = rig.session();
    let (allocation, request) = allocated(&rig, &session, MIB);
    rig.bucket.go_down();
    assert_eq!(rig.restart().allocations, 1);
    rig.bucket.come_back();
    store(&rig, &request, bytes(1, MIB));
    let session = rig.session();
    let row = rig.commit(&session, &commit_of(&allocation)).unwrap();
    assert_eq!(rig.content(&session, row.id), bytes(1, MIB));
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_refused_allocation_leaves_nothing() {
    let rig = setup().start();
    let session = rig.session();
    let request = allocate_request(MIB, Tier::Object, Durability::Object);
    rig.switch.fail_next("tier.sign_write", Moment::Before);
    assert_eq!(refusal(rig.allocate(&session, &request)), Reason::Internal);
    rig.tick();
    let usage = rig.store(Tier::Object).usage();
    assert_eq!((usage.used, usage.zombie), (0, 0));
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}
