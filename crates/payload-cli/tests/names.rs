//! Namespaces and names from the command line, as the reference describes them.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use world::{World, bytes};

#[test]
fn a_namespace_is_made_used_and_removed() {
    let world = World::new();
    world.file("f", b"content");
    let ran = world.run(&["--namespace", "lab", "put", "f"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.stderr.contains("there is no namespace lab; look at payloadctl"),
        "{}",
        ran.stderr
    );
    world.ok(&["namespace", "create", "lab", "--quota-bytes", "10GiB"]);
    let id = world.ok(&["--namespace", "lab", "put", "f"]).trim().to_owned();
    assert_eq!(world.run(&["cat", &id]).code, 3);
    assert_eq!(world.run(&["--namespace", "lab", "cat", &id]).stdout, b"content");
    assert_eq!(world.run(&["namespace", "rm", "lab"]).code, 1);
    let shown = world.ok(&["quota", "lab", "--payloads", "1"]);
    for line in ["of 10.0 GiB", "payloads  1 of 1"] {
        assert!(shown.contains(line), "{shown}");
    }
    assert!(world.ok(&["namespace", "show", "lab"]).contains("version         2"));
    let second = world.run(&["--namespace", "lab", "put", "f"]);
    let refusal = "namespace lab may have 1 payloads; it has 1, and this needs 1 more";
    assert!(second.stderr.contains(refusal), "{}", second.stderr);
    let stale = world.run(&["quota", "lab", "--bytes", "none", "--if-version", "1"]);
    assert_eq!(stale.code, 1);
    assert!(
        world
            .ok(&["quota", "lab", "--bytes", "none"])
            .contains("without a bound")
    );
    world.ok(&["--namespace", "lab", "rm", &id]);
    world.ok(&["namespace", "rm", "lab"]);
    assert!(!world.ok(&["namespace", "ls"]).contains("lab"));
    let history = world.ok(&["--namespace", "lab", "show", &id, "--events"]);
    assert!(history.contains("delete_requested"), "{history}");
}

#[test]
fn a_payload_is_found_by_its_name_in_every_size() {
    let world = World::new();
    for size in [10, 3_000_000] {
        let content = bytes(size);
        let id = world.put(&content, &["--name", "models/best.bin", "--replace"]);
        assert!(world.run(&["cat", "name:models/best.bin"]).stdout == content);
        world.ok(&["get", "name:models/best.bin", "--force"]);
        assert!(std::fs::read(world.path("best.bin")).unwrap() == content);
        let shown = world.ok(&["show", "name:models/best.bin"]);
        assert!(
            shown.contains(&id) && shown.contains("names       models/best.bin"),
            "{shown}"
        );
    }
    let history = world.ok(&["name", "history", "models/best.bin"]);
    assert_eq!(history.lines().count(), 3, "{history}");
    let taken = world.run(&["put", "f", "--name", "models/best.bin"]);
    assert_eq!(taken.code, 1);
    world.file("f", b"f");
    let taken = world.run(&["put", "f", "--name", "models/best.bin"]);
    assert!(
        taken.stderr.contains("point it elsewhere with --if ID or --replace"),
        "{}",
        taken.stderr
    );
    world.ok(&["rm", "name:models/best.bin"]);
    let gone = world.run(&["cat", "name:models/best.bin"]);
    assert!(gone.stderr.contains("payload is deleted"), "{}", gone.stderr);
    let id = world.put(b"new", &["--name", "models/best.bin"]);
    assert!(world.ok(&["name", "ls", "--prefix", "models/"]).contains(&id));
    world.ok(&["name", "rm", "models/best.bin", "--if", &id]);
    assert_eq!(world.run(&["cat", "name:models/best.bin"]).code, 3);
}

#[test]
fn what_cannot_be_meant_is_refused_at_the_command_line() {
    let world = World::empty();
    for args in [
        &["cat", "models/best.bin"][..],
        &["cat", "name:../x"],
        &["name", "set", "a b", "name:c"],
        &["put", "f", "--replace"],
        &["put", "f", "g", "--name", "n"],
        &[
            "name",
            "set",
            "n",
            "name:m",
            "--replace",
            "--if",
            "01890000-0000-7000-8000-000000000001",
        ],
        &["namespace", "create", "../x"],
        &["namespace", "create", "x", "--quota-bytes", "1GB"],
        &["quota", "x", "--payloads", "many"],
        &["quota", "x", "--if-version", "1"],
    ] {
        assert_eq!(world.run(args).code, 2, "{args:?}");
    }
}
