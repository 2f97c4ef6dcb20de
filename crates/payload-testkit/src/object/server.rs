//! An S3 server inside the test's own process, with a switch for what goes wrong between it and its clients.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::weather::{Fault, Weather};
use crate::process::Identity;

/// Who may use the server.
pub const ACCESS_KEY: &str = "tester";
/// With what.
pub const SECRET_KEY: &str = "testers-secret";
/// The bucket that is there from the start.
pub const BUCKET: &str = "payloads";

/// Ends with its connections when it is dropped.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    scheme: &'static str,
    weather: Arc<Weather>,
    dir: tempfile::TempDir,
    _runtime: Runtime,
}

impl S3Server {
    /// Starts one on a port of its own, with an empty bucket.
    ///
    /// # Panics
    ///
    /// If there is no port or no directory.
    pub fn start() -> Self {
        Self::of("http", None)
    }

    /// The same, and it proves to its clients who it is.
    ///
    /// # Panics
    ///
    /// If that is no proof.
    pub fn start_tls(identity: &Identity) -> Self {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("the key is one");
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("there are versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain.expect("the certificate is one"), key)
            .expect("the key is the certificate's");
        Self::of("https", Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn of(scheme: &'static str, tls: Option<TlsAcceptor>) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        std::fs::create_dir(dir.path().join(BUCKET)).expect("a directory can be made");
        let files = s3s_fs::FileSystem::new(dir.path()).expect("the directory is there");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads can be started");
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("there is a port");
        let address = listener.local_addr().expect("a listener has an address");
        let weather = Arc::new(Weather::default());
        let front = Front {
            service,
            weather: Arc::clone(&weather),
            root: dir.path().into(),
            turn: tokio::sync::Mutex::default(),
        };
        runtime.spawn(accept(listener, tls, Arc::new(front)));
        Self {
            address,
            scheme,
            weather,
            dir,
            _runtime: runtime,
        }
    }

    /// Its URL, for requests with the bucket in the path.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// What goes wrong from now on, and how many requests came.
    pub fn weather(&self) -> &Arc<Weather> {
        &self.weather
    }

    /// Where the bucket's objects are, for those who want to damage them.
    pub fn bucket(&self) -> std::path::PathBuf {
        self.dir.path().join(BUCKET)
    }

    /// Writes a file with the server's keys, for clients that take them from one.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn write_keys(path: &Path) {
        let text = format!("[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
        std::fs::write(path, text).expect("the file can be written");
    }
}

/// What stands between the network and the store.
struct Front {
    service: S3Service,
    weather: Arc<Weather>,
    root: Box<Path>,
    /// The store looks whether there is an object and then writes one, which is only a condition if nobody comes in between.
    turn: tokio::sync::Mutex<()>,
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, front: Arc<Front>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, front) = (tls.clone(), Arc::clone(&front));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, front).await,
                // Who does not believe the server goes away.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, front).await;
                    }
                }
            }
        });
    }
}

/// A connection ends at once when a fault says so: an error of the service would be answered.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, front: Arc<Front>) {
    let cut = Arc::new(tokio::sync::Notify::new());
    let answer = {
        let cut = Arc::clone(&cut);
        service_fn(move |request: hyper::Request<Incoming>| {
            let (front, cut) = (Arc::clone(&front), Arc::clone(&cut));
            async move { Ok::<_, Infallible>(front.respond(request, &cut).await) }
        })
    };
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    tokio::select! {
        _ended = connection => {}
        () = cut.notified() => {}
    }
}

impl Front {
    async fn respond(&self, request: hyper::Request<Incoming>, cut: &tokio::sync::Notify) -> HttpResponse {
        let _under_way = self.weather.enter(request.method().as_str());
        let query = request.uri().query().unwrap_or_default();
        match self.weather.next(request.method().as_str(), query) {
            Fault::None => self.ask(request.map(Body::from)).await,
            Fault::Refuse(status) => bare(status, Body::empty()),
            // What asks for nothing but the head is not told which of the two is not there.
            Fault::NoBucket => bare(404, Body::from("<Error><Code>NoSuchBucket</Code></Error>".to_owned())),
            Fault::Silence => std::future::pending().await,
            Fault::CutRequest => hang_up(cut).await,
            Fault::ForgetObject => {
                if matches!(*request.method(), hyper::Method::PUT | hyper::Method::POST) {
                    let object = self.root.join(request.uri().path().trim_start_matches('/'));
                    let _forgotten = std::fs::remove_file(object);
                }
                self.ask(request.map(Body::from)).await
            }
            Fault::LoseAnswer => {
                let _lost = self.ask(request.map(Body::from)).await;
                hang_up(cut).await
            }
            Fault::WithholdAnswer => {
                let _withheld = self.ask(request.map(Body::from)).await;
                std::future::pending().await
            }
            Fault::DamageRequest => match damaged(request).await {
                Some(request) => self.ask(request).await,
                None => hang_up(cut).await,
            },
            Fault::CutAnswer => {
                let (mut parts, body) = self.ask(request.map(Body::from)).await.into_parts();
                parts.headers.remove(hyper::header::TRANSFER_ENCODING);
                HttpResponse::from_parts(parts, broken_off(half(body).await))
            }
            Fault::ShortAnswer => {
                let (mut parts, body) = self.ask(request.map(Body::from)).await.into_parts();
                parts.headers.remove(hyper::header::CONTENT_LENGTH);
                HttpResponse::from_parts(parts, Body::from(half(body).await))
            }
            Fault::ErrorInside(code) => bare(200, Body::from(format!("<Error><Code>{code}</Code></Error>"))),
            Fault::EmptyAnswer => {
                let _kept_back = self.ask(request.map(Body::from)).await;
                bare(200, Body::empty())
            }
        }
    }

    async fn ask(&self, request: hyper::Request<Body>) -> HttpResponse {
        let part = request.uri().query().is_some_and(|query| query.contains("partNumber="));
        let stores = matches!(*request.method(), hyper::Method::PUT | hyper::Method::POST) && !part;
        let _turn = match stores {
            true => Some(self.turn.lock().await),
            false => None,
        };
        match self.service.call(request).await {
            Ok(response) => response,
            Err(_) => bare(500, Body::empty()),
        }
    }
}

/// An answer without headers of its own.
fn bare(status: u16, body: Body) -> HttpResponse {
    let mut response = HttpResponse::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response
}

async fn hang_up(cut: &tokio::sync::Notify) -> HttpResponse {
    cut.notify_one();
    std::future::pending().await
}

/// The same request with one bit of its body turned; nothing if it has none.
async fn damaged(request: hyper::Request<Incoming>) -> Option<hyper::Request<Body>> {
    let (parts, body) = request.into_parts();
    let mut bytes = whole(Body::from(body)).await;
    *bytes.last_mut()? ^= 1;
    Some(hyper::Request::from_parts(parts, Body::from(bytes)))
}

/// The first half of a body.
async fn half(body: Body) -> Bytes {
    let bytes = whole(body).await;
    Bytes::copy_from_slice(&bytes[..bytes.len() / 2])
}

/// A body that breaks off after some bytes, though more were announced.
fn broken_off(first: Bytes) -> Body {
    let pieces = futures_util::stream::iter([
        Ok(hyper::body::Frame::data(first)),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ]);
    Body::http_body(http_body_util::StreamBody::new(pieces))
}

async fn whole(body: Body) -> Vec<u8> {
    use http_body_util::BodyExt;
    body.collect()
        .await
        .map(|all| all.to_bytes().to_vec())
        .unwrap_or_default()
}
