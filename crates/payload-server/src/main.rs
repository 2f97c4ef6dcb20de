//! `payloadd`: started by hand it is the keeper, which starts and supervises `payloadd serve`.

use std::process::ExitCode;

fn main() -> ExitCode {
    payload_server::command::run()
}
