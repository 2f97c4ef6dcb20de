//! The failure catalogue (docs/faults.md) and the tests that carry its numbers in their names.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::tree::{self, File};

const CATALOGUE: &str = "docs/faults.md";

/// Prints each fault with its tests.
pub(crate) fn run() -> Result<()> {
    let files = tree::files(&tree::root(), &[".rs", ".md"])?;
    let (faults, tests) = (catalogue(&files), tests(&files));
    for (number, title) in &faults {
        println!("{number:>3}  {title}");
        for test in tests.get(number).into_iter().flatten() {
            println!("       {test}");
        }
    }
    let covered = faults.keys().filter(|number| tests.contains_key(number)).count();
    println!("{covered} of {} faults have tests", faults.len());
    Ok(())
}

/// Tests whose number is not in the catalogue.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    let (faults, tests) = (catalogue(files), tests(files));
    let unknown = tests.into_iter().filter(|(number, _)| !faults.contains_key(number));
    unknown
        .flat_map(|(_, tests)| tests)
        .map(|test| format!("{test}: {CATALOGUE} has no such number"))
        .collect()
}

/// Numbers and first words of the catalogue's items, which are lines like `12. What happens → what is right`.
fn catalogue(files: &[File]) -> BTreeMap<u32, String> {
    let page = files.iter().find(|file| file.path == CATALOGUE);
    let items = page.into_iter().flat_map(|page| page.text.lines()).filter_map(|line| {
        let (number, text) = line.split_once(". ")?;
        Some((
            number.parse().ok()?,
            text.split(" → ").next().unwrap_or(text).to_owned(),
        ))
    });
    items.collect()
}

/// The tests of each fault: where they are and what they are called.
fn tests(files: &[File]) -> BTreeMap<u32, Vec<String>> {
    let mut tests: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        for (line, text) in (1..).zip(file.text.lines()) {
            if let Some((number, name)) = fault_test(text) {
                tests
                    .entry(number)
                    .or_default()
                    .push(format!("{}:{line} {name}", file.path));
            }
        }
    }
    tests
}

fn fault_test(line: &str) -> Option<(u32, &str)> {
    let line = line.trim_start();
    // The cases of a contract, which every adapter's tests run, are public.
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    let name = &name[..name.find(['(', '<'])?];
    let number = name.strip_prefix("fault_")?.split('_').next()?;
    Some((number.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_by_their_names() {
        assert_eq!(
            fault_test("    fn fault_23_writers() {"),
            Some((23, "fault_23_writers"))
        );
        assert_eq!(fault_test("async fn fault_07_x<T>() {"), Some((7, "fault_07_x")));
        assert_eq!(
            fault_test("pub fn fault_32_x(open: Open<'_>) {"),
            Some((32, "fault_32_x"))
        );
        assert_eq!(fault_test("fn faulty_names() {"), None);
        assert_eq!(fault_test("// fn fault_23_x() {"), None);
    }

    #[test]
    fn a_number_that_the_catalogue_does_not_know_is_found() {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let page = file(CATALOGUE, "# Faults\n\n1. Kill in allocate → nothing is left\n");
        let code = file("a.rs", "fn fault_1_a() {}\nfn fault_2_b() {}\n");
        let findings = check(&[page, code]);
        assert_eq!(findings, ["a.rs:2 fault_2_b: docs/faults.md has no such number"]);
    }
}
