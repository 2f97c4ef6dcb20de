//! The JSON documents have the fields that docs/reference/cli.md shows, no more and no less.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::collections::BTreeSet;

use payload_client::{AcquireOptions, Client, PayloadId};
use serde_json::Value;
use world::World;

/// The example of a document on the page.
fn example(name: &str) -> Value {
    let page = include_str!("../../../docs/reference/cli.md");
    let (_, rest) = page
        .split_once(&format!("<!-- document: {name} -->\n```json\n"))
        .expect(name);
    serde_json::from_str(rest.split_once("\n```").unwrap().0).expect(name)
}

/// Every path to a value, with the value's kind. Labels are the user's own.
fn shape(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, shape: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = format!("{path}.{name}");
                    if name == "labels" {
                        shape.insert(path);
                    } else {
                        walk(value, &path, shape);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, &format!("{path}[]"), shape)),
            Value::String(_) => drop(shape.insert(format!("{path}: string"))),
            Value::Number(_) => drop(shape.insert(format!("{path}: number"))),
            Value::Bool(_) => drop(shape.insert(format!("{path}: bool"))),
            Value::Null => drop(shape.insert(format!("{path}: null"))),
        }
    }
    let mut paths = BTreeSet::new();
    walk(value, "", &mut paths);
    paths
}

#[tokio::test]
async fn every_document_is_as_documented() {
    let world = World::new();
    let file = world.file("f", b"content");
    let put = world.json(&["put", file.to_str().unwrap(), "--ttl", "10m", "--label", "camera=left"]);
    let id = put["payloads"][0]["payload_id"].as_str().unwrap().to_owned();
    let client = Client::connect(world.endpoint()).await.unwrap();
    let options = AcquireOptions {
        ttl: Some(std::time::Duration::from_secs(60)),
        ..AcquireOptions::default()
    };
    let _lease = client.acquire(id.parse::<PayloadId>().unwrap(), options).await.unwrap();
    let leases = world.json(&["leases"]);
    let serial = leases["leases"][0]["lease_serial"].to_string();
    let name_set = world.json(&["name", "set", "camera/left/latest", &id, "--reason", "sharp"]);
    let labelled = world.json(&["label", &id, "camera=right", "missing-"]);
    let quota = ["--quota-bytes", "10GiB", "--quota-payloads", "1000"];
    let namespace = world.json(&[&["namespace", "create", "lab"][..], &quota[..]].concat());
    let parent = ["--parent", &id, "--operation", "crop"];
    let child = world.json(&[&["put", file.to_str().unwrap()][..], &parent].concat());
    let child = child["payloads"][0]["payload_id"].as_str().unwrap().to_owned();
    let missing = world.run(&["-o", "json", "cat", "01890000-0000-7000-8000-000000000001"]);

    world.file("m.json", b"{\"exposure\":3}");
    let set = world.json(&[
        "meta",
        "set",
        &id,
        "--file",
        "m.json",
        "--content-type",
        "application/json",
    ]);
    let note = ["event", "append", &id, "--type", "quality/checked", "--file", "m.json"];
    let appended = world.json(&note);

    let documents = [
        ("put", world.json(&["ls"])),
        ("ls --count", world.json(&["ls", "--count"])),
        ("put", put),
        ("get", world.json(&["get", &id])),
        ("show", world.json(&["show", &id, "--events"])),
        ("meta set", set),
        ("meta get", world.json(&["meta", "get", &id])),
        ("meta history", world.json(&["meta", "history", &id])),
        ("event append", appended),
        ("events", world.json(&["events", "--payload", &id])),
        ("verify", world.json(&["verify", "--events"])),
        ("lineage", world.json(&["lineage", "show", &id])),
        (
            "lineage add",
            world.json(&[&["lineage", "add", &child][..], &parent].concat()),
        ),
        ("lineage impact", world.json(&["lineage", "impact", &id])),
        (
            "rm --dry-run",
            world.json(&["rm", &id, "--dependents", "cascade", "--dry-run"]),
        ),
        ("stats", world.json(&["stats"])),
        ("explain", world.json(&["explain", &id])),
        ("verify --bytes", world.json(&["verify", "--bytes", "--all"])),
        ("tiers", world.json(&["tiers"])),
        ("transfers", world.json(&["transfers"])),
        ("transfers cancel", world.json(&["transfers", "cancel", &id])),
        ("holders", world.json(&["holders"])),
        ("update", labelled),
        ("name set", name_set),
        ("name show", world.json(&["name", "show", "camera/left/latest"])),
        ("name ls", world.json(&["name", "ls"])),
        ("name history", world.json(&["name", "history", "camera/left/latest"])),
        ("namespace", namespace),
        ("namespace", world.json(&["namespace", "show", "lab"])),
        ("quota", world.json(&["quota", "lab", "--bytes", "1"])),
        ("namespaces", world.json(&["namespace", "ls"])),
        ("namespace rm", world.json(&["namespace", "rm", "lab"])),
        ("leases", leases),
        ("revoke", world.json(&["revoke", &serial])),
        ("name rm", world.json(&["name", "rm", "camera/left/latest"])),
        (
            "stream",
            world.json(&[
                "stream",
                "create",
                "frames",
                "--hold",
                "nothing",
                "--keep-entries",
                "9",
                "--keep-for",
                "7d",
                "--keep-bytes",
                "1GiB",
            ]),
        ),
        (
            "stream append",
            world.json(&["stream", "append", "frames", &id, "--tag", "left"]),
        ),
        ("stream read", world.json(&["stream", "read", "frames"])),
        (
            "stream group",
            world.json(&["stream", "commit", "frames", "--group", "archive", "--offset", "1"]),
        ),
        ("stream groups", world.json(&["stream", "groups", "frames"])),
        (
            "stream group",
            world.json(&["stream", "reset", "frames", "--group", "archive"]),
        ),
        ("streams", world.json(&["stream", "ls"])),
        ("stream rm", world.json(&["stream", "rm", "frames"])),
        ("rm", world.json(&["rm", &id])),
        ("error", serde_json::from_str(&missing.stderr).unwrap()),
    ];
    for (name, document) in documents {
        assert_eq!(shape(&document), shape(&example(name)), "{name}");
    }
}
