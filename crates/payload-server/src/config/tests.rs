//! The configuration as an operator meets it: files, environment and command line in, settings or problems out.

use std::collections::HashSet;
use std::path::Path;

use payload_testkit::process::Authority;
use tempfile::TempDir;

use super::keys::ALL;
use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A directory with a `payload.toml` of this text, whose data directory is in there too.
struct World {
    directory: TempDir,
}

impl World {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("payload.toml"), text).unwrap();
        Self { directory }
    }

    fn data_dir(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    fn load(&self, env: &[(&str, &str)], command_line: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let data_dir = self.data_dir();
        let mut env = pairs(env);
        env.push(("PAYLOADD_DATA_DIR".to_owned(), data_dir));
        Config::load(
            Some(&self.directory.path().join("payload.toml")),
            &env,
            &pairs(command_line),
        )
        .map_err(|problems| self.lines(&problems))
    }

    fn lines(&self, problems: &[Problem]) -> Vec<String> {
        let prefix = format!("{}/", self.directory.path().display());
        problems
            .iter()
            .map(|problem| problem.to_string().replace(&prefix, ""))
            .collect()
    }
}

fn refused(text: &str) -> Vec<String> {
    World::new(text)
        .load(&[], &[])
        .expect_err("this configuration is wrong")
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::default_for(directory.path()).unwrap();
    assert_eq!(config.data_dir, directory.path());
    assert_eq!(config.tiers.disk_path, directory.path().join("disk"));
    assert_eq!(
        config.repository.place,
        Place::Sqlite(directory.path().join("catalog.db"))
    );
    assert_eq!(config.leases.remote_default, Span::from_secs(30));
    assert_eq!(config.leases.local_hold_max, None);
    assert_eq!(config.keeper.kind, KeeperKind::BuiltIn);
    assert!(config.tiers.ram_capacity > 0 && config.tiers.disk_capacity == Capacity::Percent(80));
    assert_eq!(config.http_listen.port(), 0);
    assert_eq!(
        World::new("").load(&[], &[]).unwrap().http_listen.to_string(),
        "127.0.0.1:7601"
    );
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let world = World::new("[leases]\ngrace = \"1s\"\nremote_max = \"61s\"\n[sessions]\nmax = 300\n");
    let env = [
        ("PAYLOADD_LEASES_GRACE", "2s"),
        ("PAYLOADD_SESSIONS_MAX", "400"),
        ("PAYLOADD_CONFIG", "x.toml"),
    ];
    let config = world.load(&env, &[("leases.grace", "3s")]).unwrap();
    assert_eq!(config.leases.grace, Span::from_secs(3));
    assert_eq!(config.sessions.max, 400);
    assert_eq!(config.leases.remote_max, Span::from_secs(61));
}

#[test]
fn fault_60_each_mistake_is_told_with_line_key_and_suggestion() {
    let cases = [
        (
            "\n[tiers.ram]\ncapcity = \"1GiB\"",
            "payload.toml:3: tiers.ram.capcity: unknown key; did you mean \"capacity\"?",
        ),
        (
            "[teirs.ram]\ncapacity = \"1GiB\"",
            "payload.toml:1: teirs: unknown section; did you mean \"tiers\"?",
        ),
        (
            "capacity = \"1GiB\"",
            "payload.toml:1: capacity: unknown key; did you mean \"tiers.ram.capacity\"?",
        ),
        ("zzz = 1", "payload.toml:1: zzz: unknown key"),
        ("leases = 5", "payload.toml:1: leases: this is a section, not a key"),
        (
            "[leases.grace]\nx = 1",
            "payload.toml:1: leases.grace: expected a string, found a section; write it like \"30s\"",
        ),
        (
            "leases.grace = 10",
            "payload.toml:1: leases.grace: expected a string, found a bare number; write it like \"30s\"",
        ),
        (
            "leases.grace = \"10\"",
            "payload.toml:1: leases.grace: \"10\" has no unit; write a unit, such as \"30s\"",
        ),
        (
            "leases.grace = nan",
            "payload.toml:1: leases.grace: expected a string, found a float; write it like \"30s\"",
        ),
        (
            "leases.grace = \"2d\"",
            "payload.toml:1: leases.grace: \"2d\" is out of range; it goes from \"100ms\" to \"1h\"",
        ),
        (
            "tiers.ram.capacity = \"8gb\"",
            "payload.toml:1: tiers.ram.capacity: \"gb\" is not a unit; did you mean \"8GB\"?",
        ),
        (
            "tiers.disk.capacity = \"5B\"",
            "payload.toml:1: tiers.disk.capacity: 5B is less than the smallest capacity, 1MiB",
        ),
        (
            "sessions.max = \"9\"",
            "payload.toml:1: sessions.max: expected a whole number, found a string; write 9 without quotes",
        ),
        (
            "sessions.max = -1",
            "payload.toml:1: sessions.max: \"-1\" is not a whole number in range",
        ),
        (
            "sessions.max = 0",
            "payload.toml:1: sessions.max: 0 is out of range; it goes from 1 to 65536",
        ),
        (
            "sessions.allow_uids = 7",
            "payload.toml:1: sessions.allow_uids: expected a list of numbers; write it like [1000, 1001]",
        ),
        (
            "log.format = \"jsn\"",
            "payload.toml:1: log.format: \"jsn\" is none of text, json; did you mean \"json\"?",
        ),
        (
            "keeper.kind = \"builtin\"",
            "payload.toml:1: keeper.kind: \"builtin\" is none of built-in, systemd, none; did you mean \"built-in\"?",
        ),
        (
            "repository.url = \"postgrse://ann:secret@db/x\"",
            "payload.toml:1: repository.url: \"postgrse\" is not a repository that this server has; write \"sqlite:\", \"postgres://…\" or \"memory:\"",
        ),
        (
            "repository.url = \"sqlite:a.db\"",
            "payload.toml:1: repository.url: \"a.db\" is not an absolute path; write \"sqlite:\" for the data directory's own file, or \"sqlite:/path/to/catalog.db\"",
        ),
        (
            "grpc.listen = \"localhost:7600\"",
            "payload.toml:1: grpc.listen: \"localhost:7600\" is not an IP address with a port; write \"127.0.0.1:7600\"",
        ),
        (
            "grpc.listen = \"127.0.0.1:65535\"",
            "payload.toml:1: grpc.listen: there is no port 1 after 65535 for http.listen; set http.listen",
        ),
        (
            "http.listen = \"127.0.0.1:7600\"",
            "payload.toml:1: http.listen: the same address as grpc.listen",
        ),
        (
            "http.listen = \"127.0.0.1:1\"\nbytes.listen = \"127.0.0.1:1\"",
            "payload.toml:2: bytes.listen: the same address as http.listen",
        ),
        (
            "leases.remote_default = \"3m\"",
            "payload.toml:1: leases.remote_default: longer than leases.remote_max",
        ),
        (
            "sessions.max = 100",
            "default: sessions.per_principal_max: more than sessions.max",
        ),
        (
            "tiers.ram.capacity = \"1000TiB\"",
            "payload.toml:1: tiers.ram.capacity: more than the",
        ),
        ("[tiers.ram\n", "payload.toml:1: "),
        (
            "leases.grace = \"1s\"\nleases.grace = \"2s\"",
            "payload.toml:2: duplicate key",
        ),
    ];
    for (text, expected) in cases {
        let lines = refused(text);
        assert!(
            lines[0].starts_with(expected),
            "{text}\n  said {lines:?}\n  not  {expected}"
        );
        assert!(lines.iter().all(|line| !line.contains('\n')), "{text}: {lines:?}");
    }
}

#[test]
fn fault_60_every_mistake_is_told_at_once_in_the_order_of_the_file() {
    let text = "data_dri = \"x\"\n[leases]\ngrace = 5\nremote_max = \"-1s\"\n[log]\nfilter = \"inof\"\n";
    let world = World::new(text);
    let lines = world
        .load(&[("PAYLOADD_SESSIONS_MAKS", "5")], &[("grcp.listen", "x")])
        .unwrap_err();
    let starts = [
        "payload.toml:1: data_dri: ",
        "payload.toml:3: leases.grace: ",
        "payload.toml:4: leases.remote_max: ",
        "payload.toml:6: log.filter: ",
        "environment variable PAYLOADD_SESSIONS_MAKS: no such setting; did you mean PAYLOADD_SESSIONS_MAX?",
        "command line: grcp.listen: unknown key; did you mean",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line:?} does not start with {start:?}");
    }
}

#[test]
fn fault_60_only_loopback_is_listened_on() {
    for address in ["0.0.0.0:7600", "[::]:7600", "192.0.2.1:7600", "10.0.0.1:0"] {
        for key in ["grpc.listen", "http.listen", "bytes.listen"] {
            let lines = refused(&format!("{key} = \"{address}\""));
            assert!(lines[0].contains("until TLS and authentication exist"), "{lines:?}");
        }
    }
    assert!(World::new("grpc.listen = \"[::1]:0\"").load(&[], &[]).is_ok());
}

#[test]
fn fault_60_a_file_that_cannot_be_read_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none.toml");
    let data_dir = pairs(&[("data_dir", &directory.path().display().to_string())]);
    let problems = Config::load(Some(&missing), &[], &data_dir).unwrap_err();
    assert_eq!(
        problems[0].origin,
        Origin::File {
            name: missing.display().to_string(),
            line: 0
        }
    );

    let world = World::new("");
    std::fs::write(world.directory.path().join("payload.toml"), [0xff, 0xfe]).unwrap();
    assert!(world.load(&[], &[]).unwrap_err()[0].starts_with("payload.toml: "));
    std::fs::write(world.directory.path().join("payload.toml"), vec![b'#'; 2 << 20]).unwrap();
    assert!(world.load(&[], &[]).unwrap_err()[0].contains("too many for a configuration"));
}

#[test]
fn a_url_may_come_from_a_file_and_its_password_is_shown_to_nobody() {
    let world = World::new("");
    let file = world.directory.path().join("url");
    let set = |text: &str| std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let load = || world.load(&[], &[("repository.url_file", path)]);
    set("postgres://ann:secret@db/catalog\nnothing else\n");
    let config = load().unwrap();
    let Place::Postgres { url, .. } = &config.repository.place else {
        panic!("not {:?}", config.repository.place);
    };
    assert_eq!(url.reveal(), "postgres://ann:secret@db/catalog");
    assert!(!format!("{config:?}").contains("secret"));
    set("postgrse://ann:secret@db/catalog");
    let lines = load().unwrap_err();
    assert!(lines[0].contains("\"postgrse\" is not a repository"), "{lines:?}");
    assert!(!lines[0].contains("secret"), "{lines:?}");
    let both = world.load(&[], &[("repository.url", "sqlite:"), ("repository.url_file", path)]);
    assert!(both.unwrap_err()[0].contains("repository.url is set too"));
    std::fs::remove_file(&file).unwrap();
    assert!(load().unwrap_err()[0].contains("cannot read"));
}

#[test]
fn a_catalog_in_memory_keeps_nothing_and_destroys_nothing() {
    let memory = "repository.url = \"memory:\"\n";
    let world = World::new(memory);
    let config = world.load(&[], &[]).unwrap();
    assert_eq!(
        (config.repository.place, config.keeper.kind),
        (Place::Memory, KeeperKind::None)
    );

    for kind in ["built-in", "systemd"] {
        assert!(refused(&format!("{memory}keeper.kind = \"{kind}\""))[0].contains("keeper.kind"));
    }
    let lingering = refused("keeper.kind = \"systemd\"\nkeeper.linger = \"1m\"");
    assert!(lingering[0].contains("FileDescriptorStorePreserve="), "{lingering:?}");
    assert!(refused(&format!("{memory}tiers.disk.path = \"/x\""))[0].contains("tiers.disk.path"));

    std::fs::create_dir(world.data_dir()).unwrap();
    std::fs::write(Path::new(&world.data_dir()).join("catalog.db"), "").unwrap();
    assert!(world.load(&[], &[]).unwrap_err()[0].contains("use another data_dir"));
}

#[test]
fn watermarks_that_contradict_each_other_are_refused() {
    let lines = refused("tiers.ram.low_watermark = 90");
    assert!(lines[0].contains("not below tiers.ram.high_watermark"), "{lines:?}");
    let lines = refused("tiers.disk.high_watermark = 80");
    assert!(lines[0].contains("not below tiers.disk.high_watermark"), "{lines:?}");
}

#[test]
fn a_tombstone_is_kept_for_as_long_as_what_needs_it() {
    let lines = refused("retention.tombstones = \"1m\"");
    assert!(lines[0].contains("shorter than requests.retention"), "{lines:?}");
    let lines = refused("retention.metadata = \"31d\"");
    assert!(lines[0].contains("longer than retention.tombstones"), "{lines:?}");
}

#[test]
fn the_disk_tier_does_not_swallow_the_data_directory() {
    let world = World::new("");
    let above = world.directory.path().display().to_string();
    for path in [world.data_dir(), above, "/".to_owned()] {
        let lines = world.load(&[("PAYLOADD_TIERS_DISK_PATH", &path)], &[]).unwrap_err();
        assert!(lines[0].contains("a directory of its own"), "{path}: {lines:?}");
    }
}

#[test]
fn what_check_prints_is_a_file_with_the_same_meaning() {
    let world = World::new("");
    let env = pairs(&[
        ("PAYLOADD_DATA_DIR", &world.data_dir()),
        ("PAYLOADD_SESSIONS_ALLOW_UIDS", "1000, 1001"),
    ]);
    let config = Config::load(None, &env, &[]).unwrap();
    let text = check(None, &env, &[]).unwrap();
    assert!(text.starts_with("# OK\n"));
    assert!(text.contains("sessions.allow_uids = [1000, 1001]  # environment variable PAYLOADD_SESSIONS_ALLOW_UIDS\n"));
    assert!(text.contains("leases.grace = \"10s\"  # default\n"));
    let second = World::new(&text);
    let again = Config::load(Some(&second.directory.path().join("payload.toml")), &[], &[]).unwrap();
    assert_eq!(again.tiers.ram_capacity, config.tiers.ram_capacity);
    assert_eq!(again.sessions, config.sessions);
    assert_eq!(
        again,
        Config {
            tiers: again.tiers.clone(),
            ..config
        }
    );
}

#[test]
fn every_key_is_read_once_and_has_a_variable_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let command_line = pairs(&[("data_dir", &directory.path().display().to_string())]);
    let (_, effective) = load(None, &[], &command_line).unwrap();
    let read: HashSet<_> = effective.iter().map(|setting| setting.path).collect();
    let known: HashSet<_> = ALL.iter().map(|key| key.path()).collect();
    assert_eq!(read, known);
    assert_eq!(effective.len(), ALL.len());
    let variables: HashSet<_> = ALL.iter().map(|key| key.variable()).collect();
    assert_eq!(variables.len(), ALL.len());
}

#[test]
fn every_key_changes_the_configuration() {
    let world = World::new("");
    let default = world.load(&[], &[]).unwrap();
    let url_file = world.directory.path().join("url");
    std::fs::write(&url_file, "postgres://ann:secret@db/catalog\n").unwrap();
    let url_file = url_file.to_str().unwrap().to_owned();
    // One that makes sense together with another alone has a test of its own, below.
    let alone = |path: &str| path != "repository.ca_file" && !path.starts_with("tiers.object.");
    for key in ALL.iter().filter(|key| alone(key.path())) {
        let value = match key.path() {
            "data_dir" | "tiers.disk.path" => "/somewhere/else",
            "grpc.listen" | "http.listen" | "bytes.listen" => "127.0.0.1:9",
            "tiers.ram.capacity" | "tiers.disk.capacity" | "tiers.ram.pool" => "3MiB",
            "sessions.allow_uids" => "7",
            "repository.url" => "memory:",
            "repository.url_file" => url_file.as_str(),
            "repository.unsafe_settings" => "accept",
            "keeper.kind" => "none",
            "log.format" => "json",
            "log.filter" => "debug",
            "repository.busy_timeout" => "7s",
            "leases.remote_max" | "leases.local_hold_max" => "45s",
            "sessions.per_principal_max" => "255",
            "bytes.connections_max" => "257",
            "tiers.ram.low_watermark" | "tiers.disk.low_watermark" => "70",
            "tiers.ram.high_watermark" | "tiers.disk.high_watermark" => "95",
            "tiers.movers"
            | "tiers.spill_mib_per_second"
            | "tiers.promote_mib_per_second"
            | "tiers.pinned_max"
            | "tiers.write_behind_max"
            | "tiers.compact_below"
            | "tiers.compact_mib_per_second"
            | "scrub.mib_per_second" => "5",
            "retention.tombstones" => "31d",
            path if path.starts_with("retention.") => "29d",
            path if path.starts_with("sessions.") && path.ends_with("max") => "257",
            _ => "1m",
        };
        let changed = world
            .load(&[], &[(key.path(), value)])
            .unwrap_or_else(|lines| panic!("{}: {lines:?}", key.path()));
        assert_ne!(changed, default, "{} has no effect", key.path());
    }
}

#[test]
fn the_object_tier_is_what_its_section_says() {
    let world = World::new("");
    let ca_file = world.directory.path().join("ca.pem");
    std::fs::write(&ca_file, Authority::new().certificate()).unwrap();
    let with = |url: &str, more: &[(&str, &str)]| {
        let set: Vec<_> = [("tiers.object.url", url)]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        world.load(&[], &set)
    };
    assert_eq!(world.load(&[], &[]).unwrap().tiers.object, None);
    let plain = with("s3://bucket", &[]).unwrap();
    for key in ALL.iter().filter(|key| key.path().starts_with("tiers.object.")) {
        let value = match key.path() {
            "tiers.object.url" => continue,
            "tiers.object.endpoint" => "http://127.0.0.1:9000",
            "tiers.object.region" => "eu-central-1",
            "tiers.object.addressing" => "path",
            "tiers.object.prefix" => "a/b",
            "tiers.object.ca_file" => ca_file.to_str().unwrap(),
            "tiers.object.credentials" => "/etc/keys",
            "tiers.object.concurrency" => "7",
            "tiers.object.part_size" => "64MiB",
            "tiers.object.url_term" => "2m",
            _ => "1m",
        };
        let changed = with("s3://bucket", &[(key.path(), value)]).unwrap();
        assert_ne!(changed.tiers, plain.tiers, "{} has no effect", key.path());
        let lines = world.load(&[], &[(key.path(), value)]).unwrap_err();
        assert!(lines[0].contains("it needs tiers.object.url"), "{lines:?}");
    }
    for (url, key, value, why) in [
        ("bucket", "tiers.movers", "3", "is not the URL of a bucket"),
        (
            "s3://b",
            "tiers.object.endpoint",
            "http://ann:secret@host",
            "without a user",
        ),
        ("s3://b", "tiers.object.prefix", "a/../b", "letters, digits"),
        ("s3://b", "tiers.object.credentials", "AKIASECRET", "absolute path"),
        ("s3://b", "tiers.object.part_size", "4MiB", "a part has 5MiB to 1GiB"),
        ("s3://b", "tiers.object.part_size", "5%", "a part has"),
        ("s3://b", "tiers.object.ca_file", "/nowhere", "/nowhere"),
        ("gs://b", "tiers.object.region", "x", "only S3"),
        ("file:///b", "tiers.object.prefix", "x", "the directory below"),
        ("file:///b", "tiers.object.url_term", "2m", "a directory has no URLs"),
    ] {
        let lines = with(url, &[(key, value)]).unwrap_err();
        assert!(lines.len() == 1 && lines[0].contains(why), "{url} {key}: {lines:?}");
        assert!(!lines[0].to_lowercase().contains("secret"), "{lines:?}");
    }
}

#[test]
fn certificates_are_believed_for_whoever_asks_for_them() {
    let world = World::new("");
    let ca_file = world.directory.path().join("ca.pem");
    std::fs::write(&ca_file, Authority::new().certificate()).unwrap();
    let place = |url: &str, ca_file: &str| {
        let set = [("repository.url", url), ("repository.ca_file", ca_file)];
        world.load(&[], &set).map(|config| config.repository.place)
    };
    let path = ca_file.to_str().unwrap();
    match place("postgres://ann:secret@db/catalog?sslmode=verify-full", path).unwrap() {
        Place::Postgres { ca_file: believed, .. } => assert_eq!(believed, Some(ca_file.clone())),
        other => panic!("not {other:?}"),
    }
    for (url, ca_file, why) in [
        (
            "postgres://ann:secret@db/catalog?sslmode=require",
            path,
            "sslmode=verify-full alone",
        ),
        (
            "postgres://ann:secret@db/catalog?sslmode=verify-full",
            "/nowhere",
            "/nowhere",
        ),
        ("sqlite:", path, "not one of PostgreSQL"),
    ] {
        let lines = place(url, ca_file).unwrap_err();
        assert!(lines.len() == 1 && lines[0].contains("repository.ca_file"), "{lines:?}");
        assert!(lines[0].contains(why) && !lines[0].contains("secret"), "{lines:?}");
    }
    let lines = world
        .load(
            &[],
            &[("repository.url", "postgres://ann:secret@db/catalog?sslmode=verify-full")],
        )
        .unwrap_err();
    assert!(lines[0].contains("needs repository.ca_file"), "{lines:?}");
}

fn reference_page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/configuration.md");
    std::fs::read_to_string(page).unwrap()
}

#[test]
fn the_reference_page_lists_exactly_these_keys() {
    let page = reference_page();
    let table = page.split("\n\n").find(|part| part.starts_with("| key |")).unwrap();
    assert_eq!(
        format!("{table}\n"),
        reference(),
        "the page's table should be:\n{}",
        reference()
    );
}

#[test]
fn the_examples_of_the_reference_page_work() {
    let page = reference_page();
    let examples: Vec<_> = page
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(examples.len() >= 2);
    for example in examples {
        let outcome = World::new(example).load(&[], &[]);
        assert!(outcome.is_ok(), "{example}\n{outcome:?}");
    }
}
