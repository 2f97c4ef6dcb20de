//! The HTTP listener over real sockets: what it answers, whom it refuses, and that nobody holds it up.

#![allow(
    clippy::unwrap_used,
    reason = "the lint's exception for tests does not reach helpers"
)]

use std::sync::Arc;
use std::time::Duration;

use payload_core::Tier;
use payload_server::http::{Condition, HttpServer, Readiness};
use prometheus::{IntCounter, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct World {
    address: std::net::SocketAddr,
    readiness: Arc<Readiness>,
    metrics: Registry,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl World {
    async fn start() -> Self {
        Self::start_with_head_timeout(Duration::from_secs(60)).await
    }

    async fn start_with_head_timeout(head_timeout: Duration) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = HttpServer::new(listener).unwrap().head_timeout(head_timeout);
        let (readiness, metrics) = (Arc::new(Readiness::starting()), Registry::new());
        let (address, stop) = (server.address(), CancellationToken::new());
        let server = tokio::spawn(server.run(Arc::clone(&readiness), metrics.clone(), stop.clone()));
        Self {
            address,
            readiness,
            metrics,
            stop,
            server,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads until the server closes.
    async fn send(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        // The server may refuse before it has read all.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, path: &str) -> String {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
        .await
    }
}

#[tokio::test]
async fn a_starting_server_is_alive_but_not_ready() {
    let world = World::start().await;
    assert!(world.get("/healthz").await.starts_with("HTTP/1.1 200 "));
    let answer = world.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("content-type: application/json"), "{answer}");
    assert!(answer.contains(r#""condition":"starting""#), "{answer}");
}

#[tokio::test]
async fn readiness_lists_what_is_in_the_way_until_nothing_is() {
    let world = World::start().await;
    world.readiness.set(Condition::Repository, "disk \"full\"");
    world.readiness.clear(Condition::Starting);
    let answer = world.get("/readyz").await;
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let expected = serde_json::json!({
        "ready": false,
        "reasons": [{ "condition": "repository", "message": "disk \"full\"" }],
        "degraded": [],
    });
    assert_eq!(body, expected);
    world.readiness.clear(Condition::Repository);
    assert!(world.get("/readyz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_server_whose_bucket_does_not_answer_is_ready_and_says_so() {
    let world = World::start().await;
    world.readiness.clear(Condition::Starting);
    world
        .readiness
        .ask_tiers_by(|| vec![(Tier::Object, "it is away".to_owned())]);
    let answer = world.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let degraded = r#""degraded":[{"message":"it is away","tier":"object"}]"#;
    assert!(answer.contains(degraded), "{answer}");
}

#[tokio::test]
async fn metrics_are_in_the_prometheus_text_format() {
    let world = World::start().await;
    let counter = IntCounter::new("payload_things_total", "things").unwrap();
    world.metrics.register(Box::new(counter.clone())).unwrap();
    counter.inc_by(3);
    let answer = world.get("/metrics").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.ends_with("payload_things_total 3\n"), "{answer}");
}

#[tokio::test]
async fn the_index_names_the_addresses_and_others_are_not_found() {
    let world = World::start().await;
    let index = world.get("/").await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert!(index.contains(path), "{path}");
    }
    assert!(world.get("/v1/payloads").await.starts_with("HTTP/1.1 404 "));
    let head = world
        .send("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn fault_55_requests_of_web_pages_are_refused() {
    let world = World::start().await;
    let requests = [
        ("", "GET / HTTP/1.1"),
        ("Host: evil.example\r\n", "GET / HTTP/1.1"),
        ("Host: localhost.evil.example:7601\r\n", "GET / HTTP/1.1"),
        ("Host: localhost\r\nHost: evil.example\r\n", "GET / HTTP/1.1"),
        ("Host: localhost\r\n", "GET http://evil.example/ HTTP/1.1"),
        ("Host: evil.example\r\n", "GET /nothing-here HTTP/1.1"),
        (
            "Host: localhost\r\nOrigin: http://evil.example\r\n",
            "GET /metrics HTTP/1.1",
        ),
        ("Host: localhost\r\nOrigin: null\r\n", "GET /metrics HTTP/1.1"),
        (
            "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.example\r\n",
            "GET / HTTP/1.1",
        ),
    ];
    for (headers, line) in requests {
        let answer = world
            .send(&format!("{line}\r\n{headers}Connection: close\r\n\r\n"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{line} {headers:?}: {answer}");
        assert!(!answer.contains("payload"), "{answer}");
    }
}

#[tokio::test]
async fn fault_55_this_host_reads_and_nobody_is_invited_across_origins() {
    let world = World::start().await;
    let port = world.address.port();
    for headers in [
        format!("Host: 127.0.0.1:{port}\r\n"),
        format!("Host: [::1]:{port}\r\n"),
        "Host: localhost\r\nOrigin: http://localhost:3000\r\n".to_owned(),
    ] {
        let answer = world
            .send(&format!("GET /healthz HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{headers:?}: {answer}");
        assert!(!answer.to_lowercase().contains("access-control-"), "{answer}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let request = format!("{method} /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert!(world.send(&request).await.starts_with("HTTP/1.1 405 "), "{method}");
    }
}

#[tokio::test]
async fn fault_54_slow_and_idle_clients_are_cut_and_others_served() {
    let world = World::start_with_head_timeout(Duration::from_millis(200)).await;
    let mut silent = world.connect().await;
    let mut slow = world.connect().await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").await.unwrap();
    let mut idle = world.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();

    assert!(world.get("/healthz").await.starts_with("HTTP/1.1 200 "));
    // Each read ends only because the server closes.
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest).await;
    let _ = slow.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    let _ = idle.read_to_end(&mut rest).await;
    assert!(String::from_utf8_lossy(&rest).contains("200 OK"));
}

#[tokio::test]
async fn fault_54_large_and_malformed_heads_are_refused() {
    let world = World::start().await;
    let long = |size| format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(size));
    let many = |count| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(count));
    let malformed = ["\0\0\0\0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"].map(str::to_owned);
    for request in [long(20_000), long(1 << 20), many(65), many(10_000)]
        .iter()
        .chain(&malformed)
    {
        let answer = world.send(request).await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(world.get("/healthz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn fault_54_more_connections_than_places_wait_in_the_kernel() {
    let world = World::start().await;
    let mut crowd = Vec::new();
    for _ in 0..128 {
        let mut stream = world.connect().await;
        healthz(&mut stream).await;
        crowd.push(stream);
    }
    let mut late = [world.connect().await, world.connect().await, world.connect().await];
    // This answer comes from a server that has had its chance to see the late ones.
    healthz(&mut crowd[0]).await;
    assert_eq!(accept_queue(world.address.port()), late.len());
    crowd.clear();
    for stream in &mut late {
        healthz(stream).await;
    }
}

/// One request on a connection that stays open.
async fn healthz(stream: &mut TcpStream) {
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "closed");
    }
}

/// How many connections wait to be accepted on a listening port of 127.0.0.1.
fn accept_queue(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let listener = format!("0100007F:{port:04X} 00000000:0000 0A ");
    let queues = table.lines().find_map(|line| line.split(&listener).nth(1)).unwrap();
    let received = queues.split(':').nth(1).unwrap().split(' ').next().unwrap();
    usize::from_str_radix(received, 16).unwrap()
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_the_server() {
    let world = World::start().await;
    let mut idle = world.connect().await;
    healthz(&mut idle).await;
    world.stop.cancel();
    world.server.await.unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(world.address).await.is_err());
}
