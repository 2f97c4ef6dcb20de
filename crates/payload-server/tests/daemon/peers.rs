//! Who may come in: the server's own user, root, and those whom the configuration names. Only root can play others.

use crate::support::child::Actor;
use crate::support::samples::get;
use crate::support::{World, is_root};

const NOBODY: u32 = 65_534;

fn answer(world: &World, role: &str) -> String {
    Actor::start_as(NOBODY, role, world.socket(), world.shared_dir()).hear()
}

#[test]
fn fault_51_a_peer_of_another_user_is_refused_and_that_is_logged() {
    if !is_root() {
        return;
    }
    let world = World::with("[sessions]\nallow_uids = [1]\n");
    assert_eq!(answer(&world, "greeter"), "PermissionDenied PEER_NOT_ALLOWED");
    assert_eq!(answer(&world, "grpc"), "PermissionDenied PEER_NOT_ALLOWED");
    let log = world.daemon.log();
    assert!(log.contains("65534"), "{log}");
    assert_eq!(world.stats().sessions, 0);
}

#[test]
fn fault_51_without_other_users_nobody_else_reaches_the_sockets() {
    if !is_root() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let world = World::start();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let endpoint = world.daemon.endpoint();
    assert_eq!(mode(&endpoint.socket), 0o600);
    assert_eq!(mode(&endpoint.grpc_socket), 0o600);
    assert_eq!(mode(world.daemon.data_dir()), 0o700);
}

#[test]
fn a_user_whom_the_configuration_names_comes_in_under_its_own_name() {
    if !is_root() {
        return;
    }
    let world = World::with("[sessions]\nallow_uids = [65534]\n");
    let welcome = answer(&world, "greeter");
    let payload_id = welcome.strip_prefix("welcome ").unwrap();
    let payload = world.grpc().get_payload(get(payload_id)).unwrap().payload.unwrap();
    assert_eq!(payload.owner, "uid:65534");
    assert_eq!(answer(&world, "grpc"), "welcome uid:65534");
}
