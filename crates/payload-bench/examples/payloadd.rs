//! The server, for this crate's tests: being an example here, it is always built together with them.

use std::process::ExitCode;

fn main() -> ExitCode {
    payload_server::command::run()
}
