//! The end of a server that must not go on: its keeper starts another, which finds out what is true.

use payload_core::Error;

/// The exit code of such an end: internal software error, in the words of `sysexits.h`.
pub(crate) const EXIT_CODE: i32 = 70;

/// Ends the process at once; nothing that is in memory can be trusted to be written any more.
pub(crate) fn exit(what: &str, error: &Error) -> ! {
    tracing::error!(%error, "{what}; stopping at once");
    std::process::exit(EXIT_CODE)
}
