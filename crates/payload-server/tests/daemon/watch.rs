//! Watching events over the wire: what was and what comes, nothing twice and nothing skipped, whoever stops in between.

use payload_proto::v1;
use payload_testkit::process::until;
use rustix::process::Signal;
use tonic::Code;

use crate::support::grpc::{Grpc, Watching};
use crate::support::samples::{append_event, delete, put};
use crate::support::{World, http};

/// Short enough that the tests do not wait, with nobody to hurry.
const QUICK: &str = "
[events]
heartbeat = \"20ms\"
stall_timeout = \"200ms\"
";

fn from(cursor: &str) -> v1::WatchEventsRequest {
    v1::WatchEventsRequest {
        cursor: cursor.to_owned(),
        ..Default::default()
    }
}

fn from_now() -> v1::WatchEventsRequest {
    v1::WatchEventsRequest {
        from: v1::WatchFrom::Now.into(),
        ..Default::default()
    }
}

/// Reads until there are so many events, and returns them with the last cursor.
fn read(watch: &mut Watching<'_>, count: usize) -> (Vec<v1::Event>, String) {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    while events.len() < count {
        let message = watch.next().unwrap().expect("the server is there");
        events.extend(message.events);
        cursor = message.cursor;
    }
    assert_eq!(events.len(), count, "{:?}", steps(&events));
    (events, cursor)
}

fn steps(events: &[v1::Event]) -> Vec<(&str, u64)> {
    events
        .iter()
        .map(|event| (event.payload_id.as_str(), event.version))
        .collect()
}

/// Of everything that the log holds.
fn log(grpc: &Grpc) -> Vec<v1::Event> {
    let (mut events, mut request) = (Vec::new(), v1::ListEventsRequest::default());
    loop {
        let page = grpc.list_events(request.clone()).unwrap();
        events.extend(page.events);
        request.cursor = page.cursor;
        if !page.more {
            return events;
        }
    }
}

#[test]
fn a_watch_shows_what_was_and_then_what_happens() {
    let world = World::start();
    let (grpc, writer) = (world.grpc(), world.grpc());
    let id = writer.put(put(b"x")).unwrap().payload.unwrap().payload_id;
    let mut all = grpc.watch_events(from("")).unwrap();
    assert_eq!(steps(&read(&mut all, 1).0), [(&*id, 1)]);
    let mut new = grpc.watch_events(from_now()).unwrap();
    assert_eq!(new.next().unwrap().unwrap().events, []);

    writer.append_event(append_event(&id, "seen", b"")).unwrap();
    writer.delete_payload(delete(&id)).unwrap();
    let wanted = log(&writer)[1..].to_vec();
    assert_eq!(read(&mut new, wanted.len()).0, wanted);
    assert_eq!(read(&mut all, wanted.len()).0, wanted);
}

#[test]
fn a_watch_is_gone_on_with_after_a_break_and_skips_nothing() {
    let world = World::start();
    let writer = world.grpc();
    let put_one = || writer.put(put(b"x")).unwrap();
    put_one();
    let cursor = {
        let grpc = world.grpc();
        let (_, cursor) = read(&mut grpc.watch_events(from("")).unwrap(), 1);
        cursor
    };
    for _ in 0..3 {
        put_one();
    }
    let grpc = world.grpc();
    let mut watch = grpc.watch_events(from(&cursor)).unwrap();
    let (mut events, _) = read(&mut watch, 3);
    put_one();
    let (last, cursor) = read(&mut watch, 1);
    events.extend(last);
    assert_eq!(events, log(&writer)[1..]);
    drop(watch);
    drop((grpc, writer));

    let world = world.kill_and_restart();
    let grpc = world.grpc();
    grpc.put(put(b"x")).unwrap();
    let wanted = log(&grpc)[5..].to_vec();
    let mut watch = grpc.watch_events(from(&cursor)).unwrap();
    assert_eq!(read(&mut watch, wanted.len()).0, wanted);
}

#[test]
fn a_watch_shows_only_what_was_asked_for_and_moves_on_all_the_same() {
    let world = World::with(QUICK);
    let (grpc, writer) = (world.grpc(), world.grpc());
    let ids: Vec<String> = (0..2)
        .map(|_| writer.put(put(b"x")).unwrap().payload.unwrap().payload_id)
        .collect();
    let request = v1::WatchEventsRequest {
        payload_id: ids[0].clone(),
        kinds: vec!["application".to_owned()],
        ..from_now()
    };
    let mut watch = grpc.watch_events(request).unwrap();
    let first = watch.next().unwrap().unwrap().cursor;
    writer
        .append_event(append_event(&ids[1], "not-asked-for", b""))
        .unwrap();
    // Without an event that fits, the cursor still moves past what was looked at.
    while watch.next().unwrap().unwrap().cursor == first {}
    writer.append_event(append_event(&ids[0], "asked-for", b"")).unwrap();
    let (events, _) = read(&mut watch, 1);
    assert_eq!(events[0].note.as_ref().unwrap().event_type, "asked-for");
}

#[test]
fn fault_42_whoever_does_not_read_is_cut_off_and_goes_on_later() {
    let world = World::with(QUICK);
    let (stalled, writer) = (world.grpc(), world.grpc());
    let id = writer.put(put(b"x")).unwrap().payload.unwrap().payload_id;
    let mut watch = stalled.watch_events(from("")).unwrap();
    let (_, mut cursor) = read(&mut watch, 1);
    for _ in 0..40 {
        writer.append_event(append_event(&id, "big", &[0; 64 << 10])).unwrap();
    }
    let metrics = || http::get(&world.daemon.endpoint().http, "/metrics");
    until("the watch to be cut off", || {
        metrics().contains("payload_event_watches 0").then_some(())
    });
    // Others are served.
    let other = world.grpc();
    assert_eq!(read(&mut other.watch_events(from("")).unwrap(), 41).0.len(), 41);

    // What was on its way still comes, then the reason.
    let mut events = Vec::new();
    let refusal = loop {
        match watch.next() {
            Ok(message) => {
                let message = message.expect("it ends with a reason");
                events.extend(message.events);
                cursor = message.cursor;
            }
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(
        (refusal.code, &*refusal.reason),
        (Code::ResourceExhausted, "READER_TOO_SLOW")
    );
    assert!(events.len() < 40);
    let mut watch = stalled.watch_events(from(&cursor)).unwrap();
    events.extend(read(&mut watch, 40 - events.len()).0);
    assert_eq!(steps(&events), steps(&log(&writer)[1..]));
}

#[test]
fn a_server_that_stops_says_so_to_those_who_watch() {
    let mut world = World::start();
    let grpc = world.grpc();
    let mut watch = grpc.watch_events(from_now()).unwrap();
    watch.next().unwrap();
    world.daemon.signal(Signal::TERM);
    let refusal = loop {
        match watch.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ends with a reason"),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal.reason, "SHUTTING_DOWN");
    assert!(world.daemon.wait().success());
}
