//! Rules about the text of files.

use crate::tree::File;

/// Things that no Rust file contains. Written in two pieces, so that this file does not contain them either.
const NOT_IN_RUST: [(&str, &str); 3] = [
    (concat!("#[", "ignore"), "a test that does not run proves nothing"),
    (concat!("todo", "!("), "unfinished code is not merged"),
    (concat!("unimplemented", "!("), "unfinished code is not merged"),
];

/// Directories of somebody's own machine.
const MACHINE_PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        if file.path.ends_with(".rs") && !file.text.starts_with("//! ") {
            findings.push(format!(
                "{}:1: the first line says why the file exists, as `//! …`",
                file.path
            ));
        }
        for (number, line) in (1..).zip(file.text.lines()) {
            findings.extend(fault(file, line).map(|fault| format!("{}:{number}: {fault}", file.path)));
        }
    }
    findings
}

fn fault(file: &File, line: &str) -> Option<String> {
    if line.ends_with([' ', '\t']) {
        return Some("spaces at the end of the line".to_owned());
    }
    if let Some(path) = MACHINE_PATHS.iter().find(|path| line.contains(**path)) {
        return Some(format!("{path} is a place on one machine"));
    }
    if !file.path.ends_with(".rs") {
        return None;
    }
    let (found, why) = NOT_IN_RUST.iter().find(|(text, _)| line.contains(text))?;
    Some(format!("{found}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&[File {
            path: path.to_owned(),
            text: text.to_owned(),
        }])
        .len()
    }

    #[test]
    fn each_rule_finds_its_fault() {
        assert_eq!(findings("a.rs", "use std::fs;\n"), 1);
        assert_eq!(findings("a.rs", "//! Why.\nlet x = 1; \n"), 1);
        assert_eq!(findings("a.md", concat!("see /ro", "ot/file\n")), 1);
        for (text, _) in NOT_IN_RUST {
            assert_eq!(findings("a.rs", &format!("//! Why.\n{text}\n")), 1, "{text}");
            assert_eq!(findings("a.md", text), 0, "{text}");
        }
        assert_eq!(findings("a.rs", "//! Why.\n\nfn fine() {}\n"), 0);
    }
}
