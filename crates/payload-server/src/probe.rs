//! `payloadd check-config --probe`: asks the bucket of the object tier whether it does what is needed.

use std::process::ExitCode;
use std::sync::Arc;

use payload_core::port::Entropy;
use payload_object::BucketOptions;

use crate::clock::{BootClock, OsEntropy};

/// A line for each thing that was asked.
#[expect(clippy::print_stdout, reason = "the answer is what the command is for")]
pub(crate) fn run(bucket: Option<BucketOptions>) -> ExitCode {
    let Some(bucket) = bucket else {
        println!("# there is no object tier to be asked");
        return ExitCode::SUCCESS;
    };
    let mut name = [0; 16];
    OsEntropy.fill(&mut name);
    let findings = match payload_object::probe(bucket, Arc::new(BootClock), &name) {
        Ok(findings) => findings,
        Err(error) => {
            eprintln!("payloadd: {error}");
            return ExitCode::FAILURE;
        }
    };
    for finding in &findings {
        println!("# {finding}");
    }
    match findings.iter().all(|finding| finding.result.is_ok()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
