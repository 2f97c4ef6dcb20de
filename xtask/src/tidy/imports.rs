//! Which crate may depend on which: the absences that ARCHITECTURE.md promises.

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::tree::File;

/// What a crate may and may not depend on.
struct Rule {
    name: &'static str,
    /// Crates of this workspace that it may use.
    uses: &'static [&'static str],
    /// Crates from elsewhere that it must not use.
    shuns: &'static [&'static str],
}

const SERVER_SIDE: [&str; 8] = [
    "payload-core",
    "payload-engine",
    "payload-keeper",
    "payload-object",
    "payload-proto",
    "payload-repo",
    "payload-socket",
    "payload-tier",
];
const CLIENT_SIDE: [&str; 4] = ["payload-client", "payload-core", "payload-proto", "payload-socket"];
const WIRE: [&str; 4] = ["axum", "hyper", "prost", "tonic"];

const RULES: [Rule; 14] = [
    Rule {
        name: "payload-core",
        uses: &[],
        shuns: &["tokio", "tonic", "rusqlite", "serde", "rustix"],
    },
    Rule {
        name: "payload-socket",
        uses: &["payload-core"],
        shuns: &["prost", "tonic", "tokio"],
    },
    Rule {
        name: "payload-proto",
        uses: &["payload-core"],
        shuns: &["rusqlite", "rustix"],
    },
    Rule {
        name: "payload-repo",
        uses: &["payload-core"],
        // tokio only drives the connections to PostgreSQL; the port blocks.
        shuns: &["tonic"],
    },
    Rule {
        name: "payload-tier",
        uses: &["payload-core"],
        shuns: &["tokio", "tonic", "rusqlite"],
    },
    Rule {
        name: "payload-object",
        uses: &["payload-core"],
        // tokio only drives the requests; the port blocks.
        shuns: &["tonic", "rusqlite"],
    },
    Rule {
        name: "payload-keeper",
        uses: &["payload-core", "payload-socket"],
        shuns: &["tokio", "tonic", "prost"],
    },
    Rule {
        name: "payload-engine",
        uses: &["payload-core"],
        shuns: &["tokio", "tonic", "prost", "rusqlite", "rustix"],
    },
    Rule {
        name: "payload-server",
        uses: &SERVER_SIDE,
        shuns: &["rusqlite"],
    },
    Rule {
        name: "payload-client",
        uses: &CLIENT_SIDE,
        shuns: &["rusqlite"],
    },
    Rule {
        name: "payload-cli",
        uses: &["payload-client", "payload-core", "payload-proto"],
        shuns: &["rusqlite"],
    },
    Rule {
        name: "payload-testkit",
        uses: &["payload-core"],
        // hyper only carries the S3 server of the tests.
        shuns: &["axum", "prost", "tonic"],
    },
    Rule {
        name: "payload-bench",
        // A walk through the lineage graph is measured where it is made, next to the query that it replaces.
        uses: &[
            "payload-client",
            "payload-core",
            "payload-proto",
            "payload-repo",
            "payload-socket",
        ],
        // Not even rusqlite: the floor of a commit is a transaction through the same driver.
        shuns: &[],
    },
    Rule {
        name: "xtask",
        uses: &[],
        shuns: &WIRE,
    },
];

/// The engine is tested against the real adapters, but not through the wire.
const ENGINE_TESTS_USE: [&str; 4] = ["payload-object", "payload-repo", "payload-testkit", "payload-tier"];

pub(super) fn check(files: &[File]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let manifest: Table = file
            .text
            .parse()
            .with_context(|| format!("cannot parse {}", file.path))?;
        check_manifest(&file.path, &manifest, &mut findings);
    }
    Ok(findings)
}

fn check_manifest(path: &str, manifest: &Table, findings: &mut Vec<String>) {
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(Value::as_str);
    let Some(rule) = RULES.iter().find(|rule| Some(rule.name) == name) else {
        findings.push(format!(
            "{path}: no rule in xtask/src/tidy/imports.rs says what this crate may depend on"
        ));
        return;
    };
    for dependency in normal_dependencies(manifest) {
        let stranger = dependency.starts_with("payload-") && !rule.uses.contains(&dependency);
        if stranger || rule.shuns.contains(&dependency) {
            findings.push(format!("{path}: {} must not depend on {dependency}", rule.name));
        }
    }
    if rule.name == "payload-engine" {
        for dependency in table(manifest.get("dev-dependencies")) {
            if dependency.starts_with("payload-") && !ENGINE_TESTS_USE.contains(&dependency) {
                findings.push(format!("{path}: the engine's tests must not depend on {dependency}"));
            }
        }
    }
}

/// What goes into the built crate, on whatever platform.
fn normal_dependencies(manifest: &Table) -> Vec<&str> {
    let platforms = manifest.get("target").and_then(Value::as_table);
    let platforms = platforms.into_iter().flat_map(Table::values);
    let mut names = table(manifest.get("dependencies"));
    names.extend(table(manifest.get("build-dependencies")));
    names.extend(platforms.flat_map(|platform| table(platform.get("dependencies"))));
    names
}

fn table(section: Option<&Value>) -> Vec<&str> {
    let section = section.and_then(Value::as_table);
    section.into_iter().flat_map(Table::keys).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let file = File {
            path: "crates/x/Cargo.toml".to_owned(),
            text: text.to_owned(),
        };
        check(&[file]).unwrap()
    }

    #[test]
    fn what_the_architecture_forbids_is_found() {
        let tables = [
            "[package]\nname = \"payload-engine\"\n[dependencies]\npayload-repo.workspace = true\n",
            "[package]\nname = \"payload-engine\"\n[dependencies]\ntokio = \"1\"\n",
            "[package]\nname = \"payload-engine\"\n[dev-dependencies]\npayload-proto.workspace = true\n",
            "[package]\nname = \"payload-core\"\n[target.'cfg(unix)'.dependencies]\nrustix = \"1\"\n",
            "[package]\nname = \"payload-repo\"\n[build-dependencies]\npayload-tier.workspace = true\n",
            "[package]\nname = \"payload-server\"\n[dependencies]\npayload-testkit.workspace = true\n",
            "[package]\nname = \"payload-new\"\n",
        ];
        for table in tables {
            assert_eq!(findings(table).len(), 1, "{table}");
        }
    }

    #[test]
    fn what_it_allows_is_not() {
        let tables = [
            "[package]\nname = \"payload-engine\"\n[dependencies]\npayload-core.workspace = true\n",
            "[package]\nname = \"payload-engine\"\n[dev-dependencies]\npayload-testkit.workspace = true\n",
            "[package]\nname = \"payload-server\"\n[dependencies]\ntokio = \"1\"\npayload-tier.workspace = true\n",
        ];
        for table in tables {
            assert!(findings(table).is_empty(), "{table}");
        }
    }
}
