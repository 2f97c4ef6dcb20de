//! The bucket of the object tier, as the programs see it.

use payload_testkit::object::S3Server;
use payload_testkit::object::weather::{Fault, Which};

use crate::support::{data_dir, directory, setup};

/// A section that names the server's bucket, with keys in a file.
fn section(server: &S3Server, keys: &std::path::Path) -> String {
    S3Server::write_keys(keys);
    format!(
        "[tiers.object]\nurl = \"s3://payloads\"\nendpoint = \"{}\"\naddressing = \"path\"\nprefix = \"a/b\"\ncredentials = \"{}\"\n",
        server.endpoint(),
        keys.display()
    )
}

#[test]
fn a_bucket_is_asked_whether_it_will_do_before_anything_rests_on_it() {
    let dir = directory();
    let server = S3Server::start();
    let keys = dir.path().join("keys");
    let setup = setup(&data_dir(&dir)).config(&section(&server, &keys));
    let ask = || {
        let output = setup.run_mode_with("check-config", &["--probe"]);
        let told = String::from_utf8(output.stdout).unwrap();
        let findings: Vec<String> = told
            .lines()
            .filter(|line| line.starts_with("# "))
            .map(str::to_owned)
            .collect();
        (output.status.code(), findings)
    };
    let (code, findings) = ask();
    assert_eq!(code, Some(0), "{findings:?}");
    for step in [
        "reach",
        "clock",
        "conditional put",
        "conditional multipart",
        "list uploads",
        "delete",
    ] {
        assert!(findings.contains(&format!("# {step}: good")), "{step}: {findings:?}");
    }
    server.weather().set_for_all(Which::Any, Fault::ForgetObject);
    let (code, findings) = ask();
    assert_eq!(code, Some(1), "{findings:?}");
    assert!(
        findings.iter().any(|line| line.contains("ignores If-None-Match")),
        "{findings:?}"
    );
    server.weather().clear();
    std::fs::write(&keys, "aws_access_key_id = nobody\naws_secret_access_key = x\n").unwrap();
    let (code, findings) = ask();
    assert_eq!(code, Some(1), "{findings:?}");
    assert!(
        findings.iter().any(|line| line.starts_with("# reach: ")),
        "{findings:?}"
    );
    assert!(!data_dir(&dir).exists());
}
