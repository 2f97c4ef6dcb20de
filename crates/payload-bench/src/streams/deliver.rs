//! From a producer's call to a consumer that waits, in another thread with connections of its own.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use payload_client::{Client, ConsumerOptions, PutOptions, v1};
use payload_core::Span;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::name;
use crate::clock::Moment;
use crate::crew::runtime;
use crate::floor::echo::{Caller, Echo};
use crate::floor::transaction::Database;
use crate::floor::unary::Bare;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::Settings;
use crate::server::Server;

/// What is handed over.
const SIZE: usize = 64 << 10;
/// Deliveries in a round, for each thousand operations of the settings.
const SHARE: usize = 10;
/// Leases that the consumer has ahead.
const AHEAD: usize = 4;

/// Append to delivery while nothing else happens, next to an fsynced commit and one call.
pub(super) fn idle(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let server = Server::start(&settings.payloadd()?, &scratch.path().join("data"))?;
    let mut database = Database::create(&scratch.path().join("floor.db"))?;
    let bare = Bare::start()?;
    let floor_runtime = runtime()?;
    let channel = floor_runtime.block_on(Channel::from_shared(bare.address().to_owned())?.connect())?;
    let operations = settings.operations / SHARE;
    let pair = Pair::start(&server)?;
    let runtime = runtime()?;
    let client = runtime.block_on(Client::connect(server.endpoint()))?;
    let payload = runtime.block_on(client.put(&[7; 100], PutOptions::default()))?;
    let payload = payload.payload_id.parse()?;
    let append = |_| {
        let began = Moment::now();
        runtime.block_on(client.streams().append(&name(), &[payload]))?;
        pair.delivered(began)
    };
    compare(
        "append to delivery, idle, SQLite",
        settings.rounds,
        vec![
            Subject::new("fsynced insert, then one empty call", || {
                let once = |_| {
                    let took = database.insert()?;
                    let began = Moment::now();
                    let mut health = HealthClient::new(channel.clone());
                    floor_runtime.block_on(health.check(HealthCheckRequest::default()))?;
                    Ok(took + began.elapsed())
                };
                Round::of(Some(bare.pid()), || (0..operations).map(once).collect())
            }),
            Subject::new("append to delivery", || {
                Round::of(Some(server.addresses()?.pid), || (0..operations).map(append).collect())
            }),
        ],
    )
}

/// From publishing bytes to a consumer that has them, in memory alone, next to two round trips on a local socket.
pub(super) fn hand_over(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let config = "repository.url = \"memory:\"\n";
    let server = Server::start_with(&settings.payloadd()?, &scratch.path().join("data"), config)?;
    let socket = scratch.path().join("echo.sock");
    let echo = Echo::start(&socket, SIZE as u64)?;
    let mut caller = Caller::connect(&socket)?;
    let operations = settings.operations / SHARE;
    let pair = Pair::start(&server)?;
    let runtime = runtime()?;
    let client = runtime.block_on(Client::connect(server.endpoint()))?;
    let bytes = vec![7; SIZE];
    let publish = |_| {
        let options = PutOptions {
            publish: Some(v1::Publish {
                stream: name().to_string(),
                ..v1::Publish::default()
            }),
            ..PutOptions::default()
        };
        let began = Moment::now();
        runtime.block_on(client.put(&bytes, options))?;
        pair.delivered(began)
    };
    compare(
        "publish 64 KiB to bytes in hand, memory",
        settings.rounds,
        vec![
            Subject::new("two local round trips", || {
                Round::of(Some(echo.pid()), || (0..operations).map(|_| caller.two()).collect())
            }),
            Subject::new("publish to bytes", || {
                Round::of(Some(server.addresses()?.pid), || (0..operations).map(publish).collect())
            }),
        ],
    )
}

/// A consumer that tells when it has each entry's bytes. It ends when nobody listens.
struct Pair {
    taken: Receiver<Moment>,
    _thread: JoinHandle<Result<()>>,
}

impl Pair {
    fn start(server: &Server) -> Result<Self> {
        let endpoint = server.endpoint();
        let (tell, taken) = channel();
        let (ready, is_ready) = channel();
        let thread = std::thread::spawn(move || {
            runtime()?.block_on(async {
                let client = Client::connect(endpoint).await?;
                client
                    .streams()
                    .create(&name(), v1::CreateStreamRequest::default())
                    .await?;
                let mut reader = client.read_stream(&name(), ConsumerOptions::default(), AHEAD);
                // Connected, and at the end.
                reader.next_there_is().await?;
                ready.send(()).map_err(|_| anyhow!("nobody waits"))?;
                follow(&mut reader, &tell).await
            })
        });
        is_ready.recv().context("the consumer did not start")?;
        Ok(Self { taken, _thread: thread })
    }

    fn delivered(&self, began: Moment) -> Result<Span> {
        Ok(self.taken.recv().context("the consumer has ended")?.since(began))
    }
}

async fn follow(reader: &mut payload_client::Reader, tell: &Sender<Moment>) -> Result<()> {
    loop {
        let (_, lease) = reader.next().await?;
        std::hint::black_box(lease?.first());
        if tell.send(Moment::now()).is_err() {
            return Ok(());
        }
    }
}
