//! HTTP/1.1 itself: many requests on one connection, old clients, other methods, web pages.

use super::path;
use crate::support::World;
use crate::support::samples::content;

#[test]
fn one_connection_serves_request_after_request() {
    let world = World::start();
    let session = world.session();
    let (small, large) = (content(10, 1), content(3 << 20, 2));
    let ids = [session.put_id(&small), session.publish(&large).payload_id];
    let mut connection = world.bytes();
    // All at once, before any answer is read.
    for id in [&ids[0], &ids[1], &ids[0]] {
        connection.request("GET", &path(id), "");
    }
    connection.request("HEAD", &path(&ids[1]), "");
    connection.request("GET", "/nowhere", "");
    connection.request("GET", &path(&ids[0]), "Connection: close\r\n");
    for expected in [&small, &large, &small] {
        assert!(connection.reply().body == *expected);
    }
    assert_eq!(connection.reply_to("HEAD").header("Content-Length"), Some("3145728"));
    assert_eq!(connection.reply().status, 404);
    let last = connection.reply();
    assert_eq!((last.status, last.header("Connection")), (200, Some("close")));
    assert_eq!(connection.head(), None);
}

#[test]
fn old_clients_get_one_answer() {
    let world = World::start();
    let id = world.session().put_id(b"hello");
    let mut connection = world.bytes();
    connection.send(format!("GET {} HTTP/1.0\r\nHost: localhost\r\n\r\n", path(&id)));
    assert_eq!(connection.reply().body, b"hello");
    assert_eq!(connection.head(), None);
}

#[test]
fn a_target_may_be_absolute() {
    let world = World::start();
    let id = world.session().put_id(b"hello");
    let url = format!("{}{}", world.daemon.endpoint().bytes, path(&id));
    assert_eq!(world.fetch("GET", &url, "").body, b"hello");
}

#[test]
fn a_body_that_nobody_wants_is_not_taken_for_the_next_request() {
    let world = World::start();
    let id = world.session().put_id(b"hello");
    let mut connection = world.bytes();
    connection.request("GET", &path(&id), "Content-Length: 30\r\n");
    let reply = connection.reply();
    assert_eq!(
        (&*reply.body, reply.header("Connection")),
        (&b"hello"[..], Some("close"))
    );
    connection.request("GET", &path(&id), "");
    assert_eq!(connection.head(), None);
}

#[test]
fn other_methods_are_refused_with_those_that_there_are() {
    let world = World::start();
    let id = world.session().put_id(b"hello");
    for method in ["POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"] {
        let reply = world.fetch(method, &path(&id), "");
        assert_eq!(
            (reply.status, &*reply.reason()),
            (405, "METHOD_NOT_ALLOWED"),
            "{method}"
        );
        assert_eq!(reply.header("Allow"), Some("GET, HEAD, PUT"));
    }
}

#[test]
fn fault_55_web_pages_are_kept_out() {
    let world = World::start();
    let id = world.session().put_id(b"hello");
    let target = path(&id);
    let strangers = [
        format!("GET {target} HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n"),
        format!("GET http://evil.example{target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n"),
        format!("PUT {target} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n"),
    ];
    for request in strangers {
        let mut connection = world.bytes();
        connection.send(&request);
        let reply = connection.reply();
        assert_eq!((reply.status, &*reply.reason()), (403, "FORBIDDEN"), "{request}");
        assert!(!reply.head.to_lowercase().contains("access-control"), "{request}");
    }
    let asked = "Origin: http://localhost:3000\r\nAccess-Control-Request-Method: PUT\r\n";
    let preflight = world.fetch("OPTIONS", &target, asked);
    assert_eq!(preflight.status, 405);
    assert!(!preflight.head.to_lowercase().contains("access-control"));
    let own = world.fetch("GET", &target, "Origin: http://localhost:3000\r\n");
    assert_eq!(own.status, 200);
}
