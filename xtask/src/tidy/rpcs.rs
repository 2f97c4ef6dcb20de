//! Every call that the proto files declare is made by some integration test.

use crate::tree::File;

pub(super) fn check(files: &[File]) -> Vec<String> {
    let tests: Vec<&File> = files
        .iter()
        .filter(|file| file.path.starts_with("crates/") && file.path.contains("/tests/") && file.path.ends_with(".rs"))
        .collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".proto")) {
        for name in file.text.lines().filter_map(rpc) {
            let call = format!(".{}(", snake_case(name));
            if !tests.iter().any(|test| test.text.contains(&call)) {
                findings.push(format!(
                    "{}: no test under crates/*/tests calls {name} ({call}…))",
                    file.path
                ));
            }
        }
    }
    findings
}

/// The name of the call that this line declares.
fn rpc(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("rpc ")?;
    Some(rest[..rest.find('(')?].trim())
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_nothing_exercises_is_found() {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let proto = file(
            "proto/a.proto",
            "service A {\n  rpc GetPayload(X) returns (Y);\n  rpc Put(X) returns (Y);\n}\n",
        );
        let test = file("crates/a/tests/a.rs", "client.put(x).await;");
        let source = file("crates/a/src/a.rs", "self.get_payload(x)");
        let findings = check(&[proto, test, source]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].contains("GetPayload (.get_payload("), "{findings:?}");
    }
}
