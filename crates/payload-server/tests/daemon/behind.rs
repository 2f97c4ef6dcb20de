//! What is written behind, on the real programs: a put is answered although the disk is not, and a killed server goes on.

use payload_proto::v1;
use payload_proto::v1::Tier::{Disk, Ram};
use payload_testkit::process::{Strace, until};

use crate::support::grpc::Grpc;
use crate::support::http;
use crate::support::local::Local;
use crate::support::samples::{allocate, commit, content, fill, get};
use crate::support::{data_dir, directory, setup};

/// Big enough for a segment or a file of its own.
const SIZE: usize = 3 << 20;

#[test]
fn what_is_written_behind_is_answered_before_and_comes_also_after_a_kill() {
    let dir = directory();
    let config = "tiers.ram.capacity = \"64MiB\"\ntiers.disk.capacity = \"64MiB\"\nleases.grace = \"100ms\"\n";
    let mut daemon = setup(&data_dir(&dir)).config(config).kept().start();
    let log = daemon.data_dir().with_extension("strace");
    // Files end with this call, and the catalog's journal with another one.
    let silent = ["-e", "trace=fsync", "-e", "inject=fsync:delay_enter=600000000"];
    let Some(strace) = Strace::attach(daemon.pid(), &log, &silent) else {
        return println!("this user may not look into the server, so the disk is never silent");
    };
    let session = Local::open(&daemon.endpoint().socket);
    let request = v1::AllocateRequest {
        policy: Some(v1::Policy {
            write_behind: v1::Durability::Host.into(),
            ..Default::default()
        }),
        ..allocate(SIZE as u64)
    };
    let (allocation, fd) = session.allocate(request).unwrap();
    let bytes = content(SIZE, 1);
    fill(fd.unwrap(), &bytes);
    let committed = session.commit(commit(&allocation.payload_id)).unwrap().payload.unwrap();
    assert_eq!(committed.durability(), v1::Durability::Volatile);
    let id = committed.payload_id;
    let grpc = Grpc::tcp(&daemon.endpoint().grpc);
    until("the copy to begin", || {
        let running = grpc.list_transfers(v1::ListTransfersRequest {}).unwrap().running;
        running.iter().any(|copy| copy.why == "write-behind").then_some(())
    });
    let metrics = http::get(&daemon.endpoint().http, "/metrics");
    assert!(metrics.contains("payload_write_behind_payloads 1"), "{metrics}");
    assert!(
        metrics.contains(&format!("payload_write_behind_bytes {SIZE}")),
        "{metrics}"
    );

    daemon.signal(rustix::process::Signal::KILL);
    drop(strace);
    session.await_end();
    daemon.await_next();
    let grpc = Grpc::tcp(&daemon.endpoint().grpc);
    let row = until("the copy to be made", || {
        let row = grpc.get_payload(get(&id)).unwrap().payload.unwrap();
        (row.durability() == v1::Durability::Host).then_some(row)
    });
    let mut tiers: Vec<v1::Tier> = row.replicas.iter().map(v1::Replica::tier).collect();
    tiers.sort_unstable();
    assert_eq!(tiers, [Ram, Disk]);
    assert!(Local::open(&daemon.endpoint().socket).lease(&id).read() == bytes);
}
