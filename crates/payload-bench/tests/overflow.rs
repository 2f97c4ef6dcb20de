//! More is written than RAM holds, while readers hold leases: a small variant of what the README shows.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

#[test]
fn four_times_more_than_ram_holds_is_written_and_read_while_leases_are_held() {
    let said = support::said(&["overflow", "--ram-mib", "64", "--times", "4"], "wrong 0, refused 0");
    assert!(
        said.contains("memory is short") && !said.contains("looked 0 times"),
        "nothing had to move, or nobody looked: {said}"
    );
}
