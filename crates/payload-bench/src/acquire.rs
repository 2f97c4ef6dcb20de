//! Acquire and release on the local socket, next to two bare round trips.
//!
//! Clients are threads of this process, each with a connection of its own; server and floor are other processes that
//! have a thread for each connection. Nothing is pinned.

use std::path::PathBuf;

use anyhow::{Context, Result};
use payload_client::{AcquireOptions, AllocateOptions, Client, ClientOptions, CommitOptions, Endpoint, PayloadId};
use payload_client::{Patience, PutOptions, v1};
use payload_core::Span;

use crate::clock::Moment;
use crate::crew::{runtime, together};
use crate::floor::echo::{Caller, Echo};
use crate::link::Link;
use crate::mapping::Mapping;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::Settings;
use crate::server::Server;

const SMALL: usize = 4 << 10;
const MEDIUM: usize = 100 << 10;
const LARGE: usize = 4 << 20;
/// Different payloads of 4 MiB: as many first leases a session can take.
const LARGE_COUNT: usize = 128;
/// Operations before a round counts.
const WARM_UP: usize = 20;

/// What is leased, and in which state the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// The content comes in the answer.
    Inline,
    /// The answer brings a descriptor, which is mapped.
    First,
    /// The client has the descriptor and the mapping.
    Known,
    /// The same, of a payload that shares its container with others.
    Medium,
}

/// How the Rust client waits for answers.
const PATIENCE: [(&str, Patience); 3] = [
    ("Rust client", Patience::Yield),
    ("Rust client, sleeping", Patience::Block(Span::from_millis(4))),
    ("Rust client, spinning", Patience::Spin(Span::from_micros(50))),
];

/// Everything a round needs to know.
struct Bench {
    server: Server,
    echo: Echo,
    echo_socket: PathBuf,
    small: PayloadId,
    medium: PayloadId,
    large: Vec<PayloadId>,
    operations: usize,
}

pub(crate) fn run(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let server = Server::start(&settings.payloadd()?, &scratch.path().join("data"))?;
    let (small, medium, large) = runtime()?.block_on(prepare(server.endpoint()))?;
    let echo_socket = scratch.path().join("echo.sock");
    let bench = Bench {
        server,
        echo: Echo::start(&echo_socket, LARGE as u64)?,
        echo_socket,
        small,
        medium,
        large,
        operations: settings.operations,
    };
    let mut figures = Vec::new();
    for case in [Case::Inline, Case::First, Case::Known, Case::Medium] {
        for clients in [1, 8] {
            figures.extend(bench.compare(case, clients, settings.rounds)?);
        }
    }
    Ok(figures)
}

async fn prepare(endpoint: Endpoint) -> Result<(PayloadId, PayloadId, Vec<PayloadId>)> {
    let client = Client::connect(endpoint).await?;
    let id = |payload: &v1::Payload| payload.payload_id.parse::<PayloadId>();
    let small = id(&client.put(&[1; SMALL], PutOptions::default()).await?)?;
    let medium = id(&client.put(&[1; MEDIUM], PutOptions::default()).await?)?;
    let mut large = Vec::new();
    for _ in 0..LARGE_COUNT {
        let mut writer = client.allocate(LARGE as u64, AllocateOptions::default()).await?;
        writer.as_mut_slice()?[0] = 1;
        large.push(id(&writer.commit(CommitOptions::default()).await?)?);
    }
    Ok((small, medium, large))
}

impl Bench {
    fn compare(&self, case: Case, clients: usize, rounds: usize) -> Result<Vec<Figure>> {
        let mut subjects = vec![
            Subject::new("two round trips", move || self.floor(case, clients)),
            Subject::new("bare protocol", move || self.bare(case, clients)),
        ];
        for (name, patience) in PATIENCE {
            subjects.push(Subject::new(name, move || self.client(case, clients, patience)));
        }
        let what = match case {
            Case::Inline => "4 KiB inline",
            Case::First => "4 MiB, first lease",
            Case::Known => "4 MiB, leased before",
            Case::Medium => "100 KiB, leased before",
        };
        compare(&format!("{what}, {clients} at once"), rounds, subjects)
    }

    fn floor(&self, case: Case, clients: usize) -> Result<Round> {
        let set_up = || {
            let mut caller = Caller::connect(&self.echo_socket)?;
            warm_up(|| caller.two().map(drop))?;
            Ok((caller, Vec::new()))
        };
        together(clients, self.echo.pid(), set_up, |(caller, kept)| {
            if case != Case::First {
                return (0..self.operations).map(|_| caller.two()).collect();
            }
            let mut first = || {
                let (took, mapped) = caller.two_with_fd(LARGE)?;
                kept.push(mapped);
                Ok(took)
            };
            (0..LARGE_COUNT).map(|_| first()).collect()
        })
    }

    fn bare(&self, case: Case, clients: usize) -> Result<Round> {
        let server = self.server.addresses()?;
        let small = self.small.to_string();
        let large: Vec<String> = self.large.iter().map(PayloadId::to_string).collect();
        let again = self.leased_again(case).to_string();
        let set_up = || {
            let mut link = Link::connect(&server.socket)?;
            let mut kept = Vec::new();
            if matches!(case, Case::Known | Case::Medium) {
                lease_bare(&mut link, &again, 0, &mut kept)?;
            }
            warm_up(|| lease_bare(&mut link, &small, SMALL as u32, &mut kept).map(drop))?;
            Ok((link, kept))
        };
        together(clients, server.pid, set_up, |(link, kept)| match case {
            Case::Inline => (0..self.operations)
                .map(|_| lease_bare(link, &small, SMALL as u32, kept))
                .collect(),
            Case::Known | Case::Medium => (0..self.operations)
                .map(|_| lease_bare(link, &again, 0, kept))
                .collect(),
            Case::First => large.iter().map(|id| lease_bare(link, id, 0, kept)).collect(),
        })
    }

    /// What is leased over and over again.
    fn leased_again(&self, case: Case) -> PayloadId {
        match case {
            Case::Inline => self.small,
            Case::Medium => self.medium,
            Case::First | Case::Known => self.large[0],
        }
    }

    fn client(&self, case: Case, clients: usize, patience: Patience) -> Result<Round> {
        let options = |inline_max| AcquireOptions {
            inline_max,
            ..AcquireOptions::default()
        };
        let (inline, mapped) = (options(SMALL as u32), options(0));
        let set_up = || {
            let runtime = runtime()?;
            let client = runtime.block_on(async {
                let options = ClientOptions {
                    idle_containers_max: 2 * LARGE_COUNT,
                    patience,
                    ..ClientOptions::default()
                };
                let client = Client::connect_with(self.server.endpoint(), options).await?;
                if matches!(case, Case::Known | Case::Medium) {
                    lease(&client, self.leased_again(case), mapped).await?;
                }
                for _ in 0..WARM_UP {
                    lease(&client, self.small, inline).await?;
                }
                anyhow::Ok(client)
            })?;
            Ok((runtime, client))
        };
        together(clients, self.server.addresses()?.pid, set_up, |(runtime, client)| {
            runtime.block_on(async {
                let mut latencies = Vec::with_capacity(self.operations);
                match case {
                    Case::First => {
                        for id in &self.large {
                            latencies.push(lease(client, *id, mapped).await?);
                        }
                    }
                    Case::Inline | Case::Known | Case::Medium => {
                        let id = self.leased_again(case);
                        let options = if case == Case::Inline { inline } else { mapped };
                        for _ in 0..self.operations {
                            latencies.push(lease(client, id, options).await?);
                        }
                    }
                }
                Ok(latencies)
            })
        })
    }
}

fn warm_up(mut operation: impl FnMut() -> Result<()>) -> Result<()> {
    (0..WARM_UP).try_for_each(|_| operation())
}

/// Acquire, map if it comes with a descriptor, release; how long all of it took.
fn lease_bare(link: &mut Link, id: &str, inline_max: u32, kept: &mut Vec<Mapping>) -> Result<Span> {
    let began = Moment::now();
    let lease = link.acquire(id, inline_max)?;
    if lease.fd.is_some() {
        kept.push(Mapping::readable(link.take_fd()?, LARGE)?);
    }
    link.release(lease.lease_id)?;
    Ok(began.elapsed())
}

async fn lease(client: &Client, id: PayloadId, options: AcquireOptions) -> Result<Span> {
    let began = Moment::now();
    let lease = client.acquire(id, options).await?;
    lease.first().context("the payload is empty")?;
    lease.release().await?;
    Ok(began.elapsed())
}
