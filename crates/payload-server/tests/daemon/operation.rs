//! Starting, stopping, idling and running out of things.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use payload_proto::v1;
use payload_testkit::process::{cpu_time, descriptors, elapsed, memory, pass, sleeps, threads, until};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::support::local::Local;
use crate::support::refusal::lease;
use crate::support::samples::{acquire, content, get, put};
use crate::support::{CONFIG, World, data_dir, directory, http, setup, used};

/// What a server without clients may occupy.
const IDLE_MEMORY_MAX: u64 = 50 << 20;

#[test]
fn an_idle_server_is_small_and_asleep() {
    let world = World::start();
    world.session().put_id(b"x");
    world.await_stats("the session to end", |stats| stats.sessions == 0);
    let pid = world.daemon.pid();
    let before = (sleeps(pid), cpu_time(pid));
    pass(Duration::from_secs(1));
    let woken = sleeps(pid).saturating_sub(before.0);
    println!(
        "idle: {} KiB, {} threads, woken {woken} times in a second, {:?} of processor",
        memory(pid) >> 10,
        threads(pid),
        cpu_time(pid) - before.1,
    );
    // A thread that polls every 10 ms alone would be woken a hundred times.
    assert!(woken < 50, "{woken}");
    assert!(memory(pid) < IDLE_MEMORY_MAX, "{}", memory(pid));
}

#[test]
fn fault_08_sigterm_under_load_keeps_what_was_acknowledged() {
    let dir = directory();
    let setup = setup(&data_dir(&dir)).config(CONFIG);
    let daemon = setup.start();
    let endpoint = daemon.endpoint().clone();
    let acknowledged = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|seed| {
                scope.spawn({
                    let socket = &endpoint.socket;
                    move || put_until_closed(&Local::open(socket), seed)
                })
            })
            .collect();
        let grpc = crate::support::grpc::Grpc::tcp(&endpoint.grpc);
        until("some load", || {
            let stats = grpc.get_stats(v1::GetStatsRequest {}).unwrap();
            let disk = stats.tiers.iter().find(|tier| tier.tier() == v1::Tier::Disk).unwrap();
            (disk.replicas >= 20).then_some(())
        });
        // A client that does not hear that the server stops would hold it up for the whole drain.
        drop(grpc);
        let (status, took) = elapsed(|| daemon.stop());
        println!("stopped after {took:?}");
        assert_eq!(status.code(), Some(0));
        let ids = writers.into_iter().flat_map(|writer| writer.join().unwrap());
        ids.collect::<Vec<_>>()
    });
    for gone in ["endpoint.json", "payload.sock", "grpc.sock"] {
        assert!(!data_dir(&dir).join(gone).exists(), "{gone}");
    }
    assert!(acknowledged.len() >= 20);
    let daemon = setup.start();
    assert_readable(&Local::open(&daemon.endpoint().socket), &acknowledged);
}

/// Puts on disk until the server hangs up; what was acknowledged, with its content.
fn put_until_closed(local: &Local, seed: u8) -> Vec<(String, Vec<u8>)> {
    use payload_proto::v1::client_message::Request;
    use payload_proto::v1::server_message::Response;
    use prost::Message;
    let mut acknowledged = Vec::new();
    loop {
        let content = content(1_000 + acknowledged.len(), seed);
        let request = v1::PutRequest {
            tier: v1::Tier::Disk.into(),
            ..put(&content)
        };
        let message = v1::ClientMessage {
            correlation_id: 1,
            request: Some(Request::Put(request)),
        };
        if local.socket.send(&message.encode_to_vec(), &[]).is_err() {
            return acknowledged;
        }
        match local.receive().map(|received| received.message.response) {
            Some(Some(Response::Put(put))) => acknowledged.push((put.payload.unwrap().payload_id, content)),
            // A refusal while it stops is an answer too.
            Some(_) => {}
            None => return acknowledged,
        }
    }
}

fn assert_readable(local: &Local, acknowledged: &[(String, Vec<u8>)]) {
    for (payload_id, content) in acknowledged {
        let request = v1::AcquireRequest {
            inline_max: 64 << 10,
            ..acquire(&[payload_id])
        };
        let held = local.acquire(request).unwrap().remove(0).unwrap();
        assert_eq!(held.lease.content.as_deref(), Some(&content[..]));
    }
}

#[test]
fn fault_08_a_server_that_is_killed_again_and_again_while_it_starts_comes_up_whole() {
    let dir = directory();
    let setup = setup(&data_dir(&dir)).config(CONFIG);
    let daemon = setup.start();
    let session = Local::open(&daemon.endpoint().socket);
    let mut acknowledged = Vec::new();
    for seed in 0..20u8 {
        let content = content(2_000, seed);
        let request = v1::PutRequest {
            tier: v1::Tier::Disk.into(),
            ..put(&content)
        };
        acknowledged.push((session.put(request).unwrap().payload.unwrap().payload_id, content));
    }
    // In RAM, without a keeper: lost with the server, and recovery has to find that out.
    let lost = session.put_id(b"in memory only");
    daemon.kill();
    for step in 0..25 {
        let daemon = setup.spawn();
        // Later each time, until it is ready before the end comes.
        pass(Duration::from_millis(2 * step));
        daemon.kill();
    }
    let daemon = setup.start();
    assert_readable(&Local::open(&daemon.endpoint().socket), &acknowledged);
    let grpc = crate::support::grpc::Grpc::tcp(&daemon.endpoint().grpc);
    let payload = until("recovery to end", || {
        let payload = grpc.get_payload(get(&lost)).unwrap().payload.unwrap();
        (payload.state() != v1::State::Active).then_some(payload)
    });
    assert_eq!(payload.state(), v1::State::Lost);
    let stats = until("the tiers to agree with the catalog", || {
        let stats = grpc.get_stats(v1::GetStatsRequest {}).unwrap();
        let agree = stats
            .tiers
            .iter()
            .all(|tier| tier.used_bytes - tier.slack_bytes == tier.charged_bytes);
        agree.then_some(stats)
    });
    assert_eq!(used(&stats, v1::Tier::Ram), 0);
}

#[test]
fn fault_56_without_descriptors_accepting_pauses_without_spinning_and_recovers() {
    let world = World::start();
    let session = world.session();
    session.put_id(b"x");
    let pid = world.daemon.pid();
    let limit = descriptors(pid) as u64 + 4;
    let limits = Rlimit {
        current: Some(limit),
        maximum: Some(limit),
    };
    prlimit(Pid::from_raw(pid as i32), Resource::Nofile, limits).unwrap();
    let endpoint = world.daemon.endpoint().clone();
    let tcp = |url: &str| TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let crowd: Vec<Local> = (0..8).map(|_| Local::connect(&endpoint.socket)).collect();
    let mut others: Vec<TcpStream> = (0..4)
        .flat_map(|_| [tcp(&endpoint.grpc), tcp(&endpoint.http)])
        .collect();
    let unix: Vec<_> = (0..4)
        .map(|_| std::os::unix::net::UnixStream::connect(&endpoint.grpc_socket).unwrap())
        .collect();
    // A thread that waits in accept(2) has a number for its descriptor already, which nobody else gets and nothing shows.
    let acceptors = 2;
    until("the descriptors to be used up", || {
        (descriptors(pid) as u64 + acceptors >= limit).then_some(())
    });

    let before = cpu_time(pid);
    pass(Duration::from_secs(1));
    let used = cpu_time(pid) - before;
    println!("{used:?} of processor in a second without descriptors");
    assert!(used < Duration::from_millis(300), "{used:?}");
    // Who is in goes on.
    session.put_id(b"y");

    for other in &mut others {
        let _ = other.flush();
    }
    drop((crowd, others, unix));
    world.session().put_id(b"z");
    assert_eq!(world.stats().leases, 0);
    assert!(http::get(&endpoint.http, "/readyz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn fault_57_a_second_server_on_the_same_directory_refuses() {
    let world = World::start();
    let output = world.setup().run();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(message.contains(&world.daemon.pid().to_string()), "{message}");
    assert!(message.contains("in use"), "{message}");
    // A stopped server keeps its directory, and goes on when it wakes up.
    world.daemon.signal(Signal::STOP);
    assert!(!world.setup().run().status.success());
    world.daemon.signal(Signal::CONT);
    world.session().put_id(b"x");
}

#[test]
fn fault_60_a_bad_configuration_is_told_line_by_line_and_nothing_starts() {
    let dir = directory();
    let config = "[tiers.ram]\ncapcity = \"1GiB\"\n[leases]\ngrace = \"10\"\n";
    let setup = setup(&data_dir(&dir)).config(config);
    for output in [setup.run_mode("check-config"), setup.run()] {
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 2, "{told}");
        assert!(
            lines[0].contains(":2: tiers.ram.capcity: ") && lines[0].contains("did you mean \"capacity\"?"),
            "{told}"
        );
        assert!(lines[1].contains(":4: leases.grace: "), "{told}");
    }
    assert!(!data_dir(&dir).exists());
}

#[test]
fn fault_55_the_real_listener_refuses_web_pages_and_serves_this_host() {
    let world = World::start();
    world.session().put_id(b"x");
    let url = &world.daemon.endpoint().http;
    for headers in [
        "Host: evil.example\r\n",
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
    ] {
        for path in ["/", "/readyz", "/metrics"] {
            let answer = http::send(url, &format!("GET {path}"), headers);
            assert!(answer.starts_with("HTTP/1.1 403 "), "{path} {headers:?}: {answer}");
            assert!(!answer.to_lowercase().contains("access-control-"), "{answer}");
        }
    }
    assert!(http::get(url, "/healthz").starts_with("HTTP/1.1 200 "));
    let metrics = http::get(url, "/metrics");
    for name in ["payload_call_seconds", "payload_sessions", "payload_tier_bytes"] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
}

#[test]
fn after_a_restart_a_session_takes_up_what_it_held() {
    let world = World::start();
    let session = Local::connect(world.socket());
    let before = session.hello().unwrap();
    let payload = session.publish_on_disk(&content(100_000, 1));
    let held = session.lease(&payload.payload_id);
    let remote = lease(
        world
            .grpc()
            .acquire(acquire(&[&payload.payload_id]))
            .unwrap()
            .results
            .remove(0),
    )
    .unwrap();
    let world = world.kill_and_restart();

    let session = Local::connect(world.socket());
    let after = session.hello().unwrap();
    assert_eq!(after.node_id, before.node_id);
    assert!(after.epoch > before.epoch);
    let replica_id = held.lease.descriptor.unwrap().replica_id;
    let request = v1::ReclaimRequest {
        session_id: before.session_id,
        leases: vec![v1::LeaseRef {
            lease_id: held.lease.lease_id,
            payload_id: payload.payload_id.clone(),
            replica_id: replica_id.clone(),
        }],
        ..Default::default()
    };
    let (response, fds) = session.reclaim(request).unwrap();
    let result = v1::AcquireResponse {
        results: response.leases,
    };
    let held = crate::support::local::held(result, fds).remove(0).unwrap();
    assert_eq!(held.read(), content(100_000, 1));

    // A lease from afar goes on with its next renewal.
    let request = v1::RenewRequest {
        leases: vec![v1::LeaseRef {
            lease_id: remote.lease_id,
            payload_id: payload.payload_id,
            replica_id,
        }],
        ..Default::default()
    };
    let renewed = world.grpc().renew(request).unwrap().results.remove(0);
    assert_eq!(renewed.failure, None);
    assert_eq!(world.stats().leases, 2);
}
