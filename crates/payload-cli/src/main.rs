//! `payloadctl`: Payload Manager from a shell. Commands, output and exit codes are described in docs/reference/cli.md.

mod args;
mod base64;
mod command;
mod failure;
mod human;
mod json;
mod output;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::failure::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    let args = Args::parse();
    let output = Output::new(args.output);
    let result = run(args, &output);
    let code = match &result {
        Ok(()) => 0,
        Err(failure) => failure.exit_code(),
    };
    if let Err(failure) = result {
        output.failure(&failure);
    }
    // Not by return: a thread may still read from a pipe that nobody writes to, and must not keep us.
    std::process::exit(code.into())
}

fn run(args: Args, output: &Output) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("start", &error))?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = command::run(args, output) => result,
            _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
        }
    });
    runtime.shutdown_background();
    result
}
