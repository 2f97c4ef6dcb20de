//! Acquire and release over gRPC, next to two empty unary calls to a bare tonic server.
//!
//! One client with one connection and an event loop of its own, so many pairs of calls at a time.

use std::future::Future;

use anyhow::{Context, Result, bail};
use payload_client::{AllocateOptions, Client, CommitOptions, Endpoint, PayloadId};
use payload_core::Span;
use payload_proto::v1::data_service_client::DataServiceClient;
use payload_proto::v1::{self, acquire_result};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::clock::Moment;
use crate::crew::runtime;
use crate::floor::unary::Bare;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::Settings;
use crate::server::Server;

const SIZE: u64 = 100 << 10;
const WARM_UP: usize = 20;

pub(crate) fn run(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let server = Server::start(&settings.payloadd()?, &scratch.path().join("data"))?;
    let addresses = server.addresses()?;
    let id = runtime()?.block_on(publish(server.endpoint()))?.to_string();
    let bare = Bare::start()?;
    let mut figures = Vec::new();
    for in_flight in [1, 32] {
        let operations = settings.operations;
        let subjects = vec![
            Subject::new("two empty calls", || {
                round(bare.pid(), bare.address(), in_flight, operations, two_empty)
            }),
            Subject::new("acquire and release", || {
                let id = id.clone();
                let lease = move |channel| lease(channel, id.clone());
                round(addresses.pid, &addresses.grpc, in_flight, operations, lease)
            }),
        ];
        let case = format!("100 KiB over gRPC, {in_flight} in flight");
        figures.extend(compare(&case, settings.rounds, subjects)?);
    }
    Ok(figures)
}

async fn publish(endpoint: Endpoint) -> Result<PayloadId> {
    let client = Client::connect(endpoint).await?;
    let mut writer = client.allocate(SIZE, AllocateOptions::default()).await?;
    writer.as_mut_slice()?.fill(7);
    let id = writer.payload_id();
    writer.commit(CommitOptions::default()).await?;
    Ok(id)
}

fn round<F>(
    peer: u32,
    address: &str,
    in_flight: usize,
    operations: usize,
    once: impl Fn(Channel) -> F + Clone + Send + 'static,
) -> Result<Round>
where
    F: Future<Output = Result<()>> + Send,
{
    let runtime = runtime()?;
    let channel = runtime.block_on(async {
        let channel = Channel::from_shared(address.to_owned())?.connect().await?;
        for _ in 0..WARM_UP {
            once(channel.clone()).await?;
        }
        anyhow::Ok(channel)
    })?;
    Round::of(Some(peer), || {
        runtime.block_on(async {
            let mut tasks: JoinSet<Result<Vec<Span>>> = JoinSet::new();
            for _ in 0..in_flight {
                let (once, channel) = (once.clone(), channel.clone());
                tasks.spawn(async move {
                    let mut latencies = Vec::with_capacity(operations / in_flight);
                    for _ in 0..operations / in_flight {
                        let began = Moment::now();
                        once(channel.clone()).await?;
                        latencies.push(began.elapsed());
                    }
                    Ok(latencies)
                });
            }
            let mut latencies = Vec::with_capacity(operations);
            while let Some(done) = tasks.join_next().await {
                latencies.extend(done.context("a task panicked")??);
            }
            Ok(latencies)
        })
    })
}

async fn two_empty(channel: Channel) -> Result<()> {
    let mut client = HealthClient::new(channel);
    for _ in 0..2 {
        client.check(HealthCheckRequest::default()).await?;
    }
    Ok(())
}

async fn lease(channel: Channel, id: String) -> Result<()> {
    let mut client = DataServiceClient::new(channel);
    let acquire = v1::AcquireRequest {
        payload_ids: vec![id],
        ..v1::AcquireRequest::default()
    };
    let answer = client.acquire(acquire).await?.into_inner();
    let lease_id = match answer.results.into_iter().next().and_then(|result| result.result) {
        Some(acquire_result::Result::Lease(lease)) => lease.lease_id,
        other => bail!("no lease but {other:?}"),
    };
    let release = v1::ReleaseRequest {
        lease_ids: vec![lease_id],
    };
    client.release(release).await?;
    Ok(())
}
