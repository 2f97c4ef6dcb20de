//! Lineage from a shell: said, shown, exported, and minded by `rm`.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use serde_json::Value;
use world::World;

/// A payload that was made from others.
fn derived(world: &World, content: &[u8], parents: &[&str]) -> String {
    let mut args: Vec<&str> = parents.iter().flat_map(|parent| ["--parent", *parent]).collect();
    if !parents.is_empty() {
        args.extend(["--operation", "resize \"2x\" \\N", "--role", "image"]);
    }
    world.put(content, &args)
}

/// raw → {left, right} → last.
fn family(world: &World) -> [String; 4] {
    let raw = derived(world, b"raw", &[]);
    let (left, right) = (derived(world, b"left", &[&raw]), derived(world, b"right", &[&raw]));
    let last = derived(world, b"last", &[&left, &right]);
    [raw, left, right, last]
}

fn text(world: &World, args: &[&str]) -> String {
    let ran = world.run(args);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn what_was_put_with_its_parents_is_shown_as_a_tree() {
    let world = World::new();
    let [raw, left, right, last] = family(&world);
    let shown = text(&world, &["lineage", "show", &left]);
    let how = "resize \"2x\" \\N (image)";
    let wanted = format!(
        "{left}  active  4 B\n\nmade from\n  {raw}  active  3 B  {how}\n\nmade into\n  {last}  active  4 B  {how}\n"
    );
    assert_eq!(shown, wanted);
    let up = text(&world, &["lineage", "show", &last, "--up", "--depth", "1"]);
    assert!(up.contains(&left) && up.contains(&right) && !up.contains(&raw), "{up}");
    assert!(up.contains("there is more beyond this depth"), "{up}");
    let down = text(&world, &["lineage", "show", &last, "--down"]);
    assert_eq!(down, format!("{last}  active  4 B\n"));
    let both = world.run(&["lineage", "show", &last, "--up", "--down"]);
    assert_eq!(both.code, 2);
}

#[test]
fn what_is_told_later_counts_too_and_circles_are_refused() {
    let world = World::new();
    let [one, two] = [b"1", b"2"].map(|content| derived(&world, content, &[]));
    world.file("parameters", b"{\"width\": 2}");
    let add = |child: &str, parent: &str| {
        let args = ["lineage", "add", child, "--parent", parent, "--operation", "crop"];
        world.run(&[&args[..], &["--parameters", "parameters"]].concat())
    };
    assert_eq!(add(&two, &one).stdout, format!("{two}  crop  from {one}\n").as_bytes());
    let refused = add(&one, &two);
    assert_eq!(refused.code, 1);
    let message = format!("payloadctl: lineage of {one}: {two} descends from {one} already\n");
    assert_eq!(refused.stderr, message);
    let shown = world.json(&["lineage", "show", &two]);
    assert_eq!(shown["edges"][0]["parameters"], "eyJ3aWR0aCI6IDJ9");
    let exported = text(&world, &["lineage", "export", &two, "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&exported).unwrap(), shown);
}

/// Strings stay strings whatever is in them; nothing but the statements that were meant is left when they are taken out.
#[test]
fn the_export_for_graphviz_has_only_the_statements_that_were_meant() {
    let world = World::new();
    let [raw, ..] = family(&world);
    world.ok(&["rm", &raw]);
    let dot = text(&world, &["lineage", "export", &raw, "--format", "dot"]);
    assert!(dot.contains(r#"[label="resize \"2x\" \\N (image)"];"#), "{dot}");
    let (mut bare, mut inside, mut escaped) = (String::new(), false, false);
    for letter in dot.chars() {
        match (inside, letter) {
            (true, _) if escaped => escaped = false,
            (true, '\\') => escaped = true,
            (_, '"') => inside = !inside,
            (true, _) => {}
            (false, letter) => bare.push(letter),
        }
    }
    assert!(!inside);
    let statements: Vec<&str> = bare.lines().map(str::trim).collect();
    assert_eq!(
        statements[..3],
        ["digraph lineage {", "rankdir=LR;", "node [shape=box];"]
    );
    let (nodes, rest) = statements[3..].split_at(4);
    assert_eq!(
        nodes,
        ["[label=, style=dashed];", "[label=];", "[label=];", "[label=];"]
    );
    assert_eq!(
        rest,
        ["->  [label=];", "->  [label=];", "->  [label=];", "->  [label=];", "}"]
    );
}

/// The fields that `OpenLineage.json` 2-0-2 requires of a `RunEvent`, and the forms that it gives them.
fn assert_run_event(event: &Value) {
    let schema = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
    assert_eq!(event["schemaURL"], schema);
    assert_uri(&event["producer"]);
    let kinds = ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"];
    assert!(kinds.contains(&event["eventType"].as_str().unwrap()));
    let time = event["eventTime"].as_str().unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z'), "{time}");
    assert_uuid(event["run"]["runId"].as_str().unwrap());
    assert_facets(&event["run"]["facets"]);
    assert_named(&event["job"]);
    for (datasets, own) in [("inputs", "inputFacets"), ("outputs", "outputFacets")] {
        for dataset in event[datasets].as_array().unwrap() {
            assert_named(dataset);
            assert_facets(&dataset["facets"]);
            assert_facets(&dataset[own]);
        }
    }
    let known = [
        "eventType",
        "eventTime",
        "producer",
        "schemaURL",
        "run",
        "job",
        "inputs",
        "outputs",
    ];
    assert!(event.as_object().unwrap().keys().all(|field| known.contains(&&**field)));
}

fn assert_named(thing: &Value) {
    assert!(thing["namespace"].is_string() && thing["name"].is_string(), "{thing}");
}

fn assert_facets(facets: &Value) {
    for facet in facets.as_object().into_iter().flat_map(|facets| facets.values()) {
        assert_uri(&facet["_producer"]);
        assert_uri(&facet["_schemaURL"]);
    }
}

fn assert_uri(uri: &Value) {
    let (scheme, rest) = uri.as_str().unwrap().split_once(':').unwrap();
    assert!(
        matches!(scheme, "urn" | "https") && !rest.is_empty() && !rest.contains(' '),
        "{uri}"
    );
}

fn assert_uuid(text: &str) {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{text}");
    assert!(text.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{text}");
    assert!(text[14..].starts_with('8') && "89ab".contains(&text[19..20]), "{text}");
}

#[test]
fn the_export_for_lineage_stores_is_one_run_for_each_derivation() {
    let world = World::new();
    let [raw, left, right, last] = family(&world);
    world.file("text", b"not JSON");
    world.file("bytes", b"\xff\xfe");
    for (operation, file) in [("text", "text"), ("bytes", "bytes")] {
        let args = ["lineage", "add", &last, "--parent", &raw, "--operation", operation];
        world.ok(&[&args[..], &["--parameters", file]].concat());
    }
    let export = || text(&world, &["lineage", "export", &last, "--format", "openlineage"]);
    let events: Vec<Value> = export()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    events.iter().for_each(assert_run_event);
    // Each run starts, and completes with what it has made.
    let (starts, events): (Vec<Value>, Vec<Value>) =
        events.into_iter().partition(|event| event["eventType"] == "START");
    assert_eq!(starts.len(), events.len());
    for (start, complete) in starts.iter().zip(&events) {
        assert_eq!(
            (&start["run"], &start["inputs"]),
            (&complete["run"], &complete["inputs"])
        );
        assert_eq!(
            (&start["outputs"], &complete["eventType"]),
            (&Value::Array(Vec::new()), &"COMPLETE".into())
        );
    }
    let inputs = |event: &Value| -> Vec<String> {
        let inputs = event["inputs"].as_array().unwrap();
        inputs
            .iter()
            .map(|input| input["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let runs: Vec<_> = events
        .iter()
        .map(|event| (event["outputs"][0]["name"].as_str().unwrap(), inputs(event)))
        .collect();
    let mut both = vec![left.clone(), right.clone()];
    both.sort();
    let wanted = [
        (&*left, vec![raw.clone()]),
        (&*right, vec![raw.clone()]),
        (&*last, both),
        (&*last, vec![raw.clone()]),
        (&*last, vec![raw.clone()]),
    ];
    assert_eq!(runs, wanted);
    let facet = |event: usize| &events[event]["run"]["facets"]["payload_derivation"];
    assert_eq!(facet(3)["parameters_text"], "not JSON");
    assert_eq!(facet(4)["parameters_base64"], "//4=");
    assert_eq!(events[0]["job"]["name"], "resize \"2x\" \\N");
    assert_eq!(events[0]["inputs"][0]["inputFacets"]["payload_role"]["role"], "image");
    assert_eq!(events[0]["inputs"][0]["facets"]["payload_payload"]["size"], 3);
    let runs: std::collections::BTreeSet<&str> = events
        .iter()
        .map(|event| event["run"]["runId"].as_str().unwrap())
        .collect();
    assert_eq!(runs.len(), 5);
    assert_eq!(
        export().lines().nth(1),
        Some(&*events[0].to_string()),
        "the same each time"
    );
    assert_eq!(
        text(&world, &["lineage", "export", &raw, "--up", "--format", "openlineage"]),
        ""
    );
}

#[test]
fn rm_minds_what_descends_from_a_payload() {
    let world = World::new();
    let [raw, left, right, last] = family(&world);
    let refused = world.run(&["rm", &raw, "--dependents", "refuse"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("has live descendants"), "{}", refused.stderr);

    let impact = world.json(&["lineage", "impact", &raw]);
    assert_eq!((&impact["live"], &impact["live_bytes"]), (&3.into(), &13.into()));
    let shown = text(&world, &["lineage", "impact", &raw]);
    assert!(
        shown.starts_with("3 live descendants, 13 B; 0 have ended\n\nNEAREST"),
        "{shown}"
    );

    let tried = text(&world, &["rm", &raw, "--dependents", "cascade", "--dry-run"]);
    let first = format!("{raw}  would be deleted, after 3 that descend from it:\n");
    assert!(tried.starts_with(&first), "{tried}");
    let place = |id: &str| tried[first.len()..].find(id).unwrap();
    assert!(place(&last) < place(&left).min(place(&right)));
    assert_eq!(world.json(&["show", &last])["payload"]["state"], "ACTIVE");

    let removed = text(&world, &["rm", &raw, "--dependents", "cascade"]);
    assert_eq!(removed, format!("{raw}  deleted, after 3 that descended from it\n"));
    for id in [&raw, &left, &right, &last] {
        assert_eq!(world.json(&["show", id])["payload"]["state"], "DELETED");
    }
    let shown = text(&world, &["lineage", "show", &raw]);
    assert_eq!(shown.matches("deleted").count(), 5, "{shown}");
}
