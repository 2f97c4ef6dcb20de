//! Log lines as an operator sees them: from another process, on its standard error.

#![allow(
    clippy::unwrap_used,
    reason = "the lint's exception for tests does not reach helpers"
)]

use std::process::Command;

use payload_server::{config::Config, telemetry};

/// Plays the logging process when the test below starts it; alone it has nothing to do.
#[test]
fn the_process_that_logs() {
    let (Ok(data_dir), Ok(format)) = (std::env::var("LOGGER_DIR"), std::env::var("LOGGER_FORMAT")) else {
        return;
    };
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let settings = [
        set("data_dir", &data_dir),
        set("log.format", &format),
        set("log.filter", "telemetry=info"),
    ];
    telemetry::init(&Config::load(None, &[], &settings).unwrap().log).unwrap();
    tracing::info!(answer = 42, "hello");
    tracing::debug!("below the filter");
    let panicked = std::thread::Builder::new()
        .name("worker-7".to_owned())
        .spawn(|| panic!("out of luck"));
    assert!(panicked.unwrap().join().is_err());
}

fn logged(format: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_logs", "--nocapture"])
        .envs([
            ("LOGGER_DIR", directory.path().as_os_str()),
            ("LOGGER_FORMAT", format.as_ref()),
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn text_lines_carry_fields_and_respect_the_filter() {
    let lines = logged("text");
    assert!(lines[0].contains("INFO telemetry: hello answer=42"), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("below the filter")), "{lines:?}");
}

#[test]
fn a_panic_is_a_log_line_with_thread_and_place() {
    let lines = logged("json");
    let panic: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(panic["message"], "panic: out of luck");
    assert_eq!(panic["thread"], "worker-7");
    assert!(
        panic["location"].as_str().unwrap().contains("tests/telemetry.rs"),
        "{panic}"
    );
}
