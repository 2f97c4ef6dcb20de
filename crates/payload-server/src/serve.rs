//! Serving: bring the parts up in order, stay until told to stop, bring them down in order.

use std::net::SocketAddr;
use std::sync::Arc;

use payload_core::NodeId;
use payload_core::lease::LeaseTerms;
use payload_core::port::{Clock, Ids};
use payload_engine::{Caps, Compaction, Engine, Metrics, PerTier, Ports, Retention, Settings, Workers};
use payload_keeper::systemd::Systemd;
use prometheus::Registry;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::calls::Calls;
use crate::clock::{BootClock, OsEntropy};
use crate::command::Again;
use crate::config::Config;
use crate::data_dir::{self, DataDir, Endpoint};
use crate::gauges::Gauges;
use crate::http::{Condition, HttpServer, Readiness};
use crate::keeping::Keeping;
use crate::peers::Peers;
use crate::sockets::{self, Sockets};
use crate::subscribe::Desk;
use crate::supervisor::Supervisor;
use crate::{bytes, fatal, grpc, local, repository, tiers};

/// Payloads without a replica in RAM that are kept in memory. Each takes about a kilobyte.
const COLD_ENTRIES_MAX: usize = 1 << 15;
/// Threads for calls that block. Each waits for an fsync most of its time, and shares it with the others.
const SLOW_THREADS: usize = 128;

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(
    config: Config,
    keeper: Option<&Again>,
    mut systemd: Systemd,
    drop_volatile: bool,
) -> anyhow::Result<()> {
    let keeping = Keeping::connect(&config, keeper, &mut systemd)?;
    let sockets = Sockets::new(systemd.fds)?;
    let supervisor = Supervisor::new(systemd.notifier, systemd.watchdog);
    supervisor.starting();
    let data_dir = DataDir::open(&config.data_dir, !config.sessions.allow_uids.is_empty())?;
    let descriptors = raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(SLOW_THREADS)
        .build()?;
    let handle = runtime.handle().clone();
    runtime.block_on(async move {
        let start = Start {
            config,
            keeping,
            sockets,
            supervisor,
            data_dir,
            descriptors,
        };
        let server = start.start(handle).await?;
        server.until_stopped(drop_volatile).await
    })
}

/// What is there before anything runs.
struct Start {
    config: Config,
    keeping: Keeping,
    sockets: Sockets,
    supervisor: Supervisor,
    data_dir: DataDir,
    descriptors: u64,
}

/// Everything that runs.
struct Server {
    config: Config,
    data_dir: DataDir,
    readiness: Arc<Readiness>,
    engine: Arc<Engine>,
    workers: Workers,
    door: local::Door,
    bytes: bytes::Door,
    keeping: Keeping,
    sockets: Sockets,
    supervisor: Supervisor,
    signals: StopSignals,
    stop_calls: CancellationToken,
    stop_http: CancellationToken,
    grpc: tokio::task::JoinHandle<anyhow::Result<()>>,
    http: tokio::task::JoinHandle<()>,
}

impl Start {
    async fn start(self, handle: tokio::runtime::Handle) -> anyhow::Result<Server> {
        let Self {
            config,
            keeping,
            mut sockets,
            supervisor,
            data_dir,
            descriptors,
        } = self;
        let clock: Arc<dyn Clock> = Arc::new(BootClock);
        let entropy = Arc::new(OsEntropy);
        let ids = Ids::new(Arc::clone(&clock), Arc::clone(&entropy) as _);
        let began = clock.now();
        let registry = Registry::new();
        let readiness = Arc::new(Readiness::starting());

        // Health first: a server that is slow to start is alive, and says why it is not ready.
        let (stop_calls, stop_http) = (CancellationToken::new(), CancellationToken::new());
        let listening = HttpServer::new(sockets.tcp(sockets::HTTP, config.http_listen)?)?;
        let http_address = listening.address();
        let http = tokio::spawn(listening.run(Arc::clone(&readiness), registry.clone(), stop_http.clone()));
        let tcp = TcpListener::from_std(sockets.tcp(sockets::GRPC, config.grpc_listen)?)?;
        let grpc_address = tcp.local_addr()?;
        let byte_listener = sockets.tcp(sockets::BYTES, config.bytes.listen)?;
        let bytes_address = byte_listener.local_addr()?;

        let (node, key) = data_dir.identity(
            || NodeId::from_bytes(*ids.replica().as_bytes()).expect("a new id is not nil"),
            &*entropy,
        )?;
        let repository = repository::open(
            &config.repository,
            &config.tiers.disk_path,
            Arc::clone(&clock),
            &registry,
            &readiness,
            &supervisor,
        )
        .await?;
        let asked = Arc::clone(&repository);
        readiness.ask_repository_by(move || asked.check());
        let mut usage = repository.usage(node)?;
        usage.extend(repository.usage(NodeId::NONE)?);
        // It may have to wait for the bucket.
        let tiers = tokio::task::block_in_place(|| tiers::open(&config, descriptors, &clock, &ids, &keeping, &usage))?;
        let remote_leases_before = data_dir.had_remote_leases();
        let mark = config.data_dir.clone();
        let ports = Ports {
            clock: Arc::clone(&clock),
            ids,
            repository,
            tiers,
            before_remote_leases: Box::new(move || data_dir::mark_remote_leases(&mark)),
            on_fenced: Box::new(|error| fatal::exit("this server must not write for its node any more", error)),
        };
        let engine = Engine::new(
            ports,
            settings(&config, node),
            key,
            remote_leases_before,
            Metrics::new(&registry)?,
        )?;
        // Before rows are read: what others do to them after that is told.
        engine.hear_peers()?;
        let degraded = Arc::clone(&engine);
        readiness.ask_tiers_by(move || {
            let degraded = degraded.degraded().into_iter();
            degraded.map(|(tier, why)| (tier, why.to_string())).collect()
        });
        let recovered = engine.recover()?;
        let workers = Workers::start(&engine)?;

        let calls = Calls::new(Arc::clone(&engine), handle, &registry, Arc::clone(&readiness))?;
        registry.register(Box::new(Gauges::new(calls.clone())?))?;
        let desk = Desk::new(calls, stop_calls.clone(), config.stream_stall_timeout);
        let peers = Peers::new(config.sessions.allow_uids.clone());
        let (local, socket) = sockets.local(data_dir.join("payload.sock"), peers.socket_mode())?;
        let door = local::Door::open(
            local,
            desk.clone(),
            node,
            peers.clone(),
            Arc::clone(&clock),
            config.sessions.stall_timeout,
        )?;
        let limits = bytes::Limits {
            connections_max: config.bytes.connections_max as usize,
            idle_timeout: config.bytes.idle_timeout,
        };
        let bytes = bytes::Door::open(
            byte_listener,
            bytes_address,
            Arc::clone(&engine),
            Arc::clone(&clock),
            limits,
            &registry,
        )?;
        let (unix, grpc_socket) = sockets.grpc_unix(data_dir.join("grpc.sock"), peers.socket_mode())?;
        let grpc = tokio::spawn(grpc::serve(
            desk,
            keeping.identity(node),
            grpc::Listeners {
                tcp,
                unix: UnixListener::from_std(unix)?,
            },
            peers,
            grpc::Options {
                bytes: bytes_address,
                watch_times: grpc::WatchTimes {
                    heartbeat: config.events.heartbeat,
                    stall_timeout: config.events.stall_timeout,
                },
            },
            stop_calls.clone(),
        ));

        // Before anybody hears that the server is ready, and may tell it to stop.
        let signals = StopSignals::listen()?;
        let pid = std::process::id();
        let url = |address: SocketAddr| format!("http://{address}");
        data_dir.publish(&Endpoint {
            grpc: url(grpc_address),
            grpc_socket,
            socket,
            http: url(http_address),
            bytes: url(bytes_address),
            pid,
        })?;
        readiness.clear(Condition::Starting);
        keeping.ready();
        supervisor.ready();
        supervisor.watch(Arc::clone(&engine), workers.lives(), stop_calls.clone());
        let took = clock.now().since(began);
        tracing::info!(data_dir = %config.data_dir.display(), grpc = %grpc_address, http = %http_address, bytes = %bytes_address, ?took, ?recovered, "ready");
        Ok(Server {
            config,
            data_dir,
            readiness,
            engine,
            workers,
            door,
            bytes,
            keeping,
            sockets,
            supervisor,
            signals,
            stop_calls,
            stop_http,
            grpc,
            http,
        })
    }
}

impl Server {
    async fn until_stopped(mut self, drop_volatile: bool) -> anyhow::Result<()> {
        self.signals.received().await;
        self.stop(drop_volatile).await
    }

    async fn stop(self, drop_volatile: bool) -> anyhow::Result<()> {
        self.readiness
            .set(Condition::ShuttingDown, "the server is shutting down");
        self.supervisor.stopping();
        self.data_dir.unpublish();
        self.keeping.stopping(drop_volatile);
        self.stop_calls.cancel();
        if tokio::time::timeout(self.config.shutdown_drain, self.grpc)
            .await
            .is_err()
        {
            tracing::warn!(drain = ?self.config.shutdown_drain, "gRPC calls did not end in time; they are cut off");
        }
        let (door, bytes, workers, drain) = (self.door, self.bytes, self.workers, self.config.shutdown_drain);
        tokio::task::spawn_blocking(move || {
            bytes.close(drain);
            door.close();
            drop(workers);
        })
        .await?;
        if self.engine.stats().is_ok_and(|stats| stats.leases == 0) {
            self.data_dir.clear_remote_leases();
        }
        self.sockets.remove_files();
        self.stop_http.cancel();
        // The answer to a last probe may be lost; nobody waits for it.
        let _ = tokio::time::timeout(self.config.shutdown_drain, self.http).await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// The signals that ask for a graceful stop. Until they are listened to, they end the process at once.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("stopping: SIGTERM"),
            _ = self.interrupt.recv() => tracing::info!("stopping: SIGINT"),
        }
    }
}

fn settings(config: &Config, node: NodeId) -> Settings {
    let count = |number: u32| number as usize;
    Settings {
        node,
        lease_terms: LeaseTerms {
            remote_default: config.leases.remote_default,
            term_max: config.leases.remote_max,
            local_hold_max: config.leases.local_hold_max,
        },
        grace: config.leases.grace,
        allocation_timeout: config.allocation_timeout,
        request_retention: config.request_retention,
        retention: Retention {
            events: config.retention.events,
            metadata: config.retention.metadata,
            names: config.retention.names,
            tombstones: config.retention.tombstones,
        },
        watermarks: PerTier {
            ram: config.tiers.ram_watermarks,
            disk: config.tiers.disk_watermarks,
        },
        pinned_max: u8::try_from(config.tiers.pinned_max).unwrap_or(u8::MAX),
        write_behind_max: u8::try_from(config.tiers.write_behind_max).unwrap_or(u8::MAX),
        room_wait: config.room_wait,
        movers: config.tiers.movers as usize,
        spill_rate: rate(config.tiers.spill_mib_per_second),
        promote_rate: rate(config.tiers.promote_mib_per_second),
        compaction: Compaction {
            below: u8::try_from(config.tiers.compact_below).unwrap_or(u8::MAX),
            rate: u64::from(config.tiers.compact_mib_per_second) << 20,
        },
        scrub_interval: config.scrub.interval,
        scrub_rate: u64::from(config.scrub.mib_per_second) << 20,
        cold_entries_max: COLD_ENTRIES_MAX,
        caps: Caps {
            sessions: count(config.sessions.max),
            sessions_per_principal: count(config.sessions.per_principal_max),
            leases_per_principal: count(config.sessions.leases_per_principal_max),
            allocations_per_principal: count(config.sessions.allocations_per_principal_max),
        },
    }
}

/// As many descriptors as this process may have; returns how many that are.
fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u32::MAX))
}

/// Bytes in a second; zero is no limit.
fn rate(mib_per_second: u32) -> Option<u64> {
    (mib_per_second > 0).then(|| u64::from(mib_per_second) << 20)
}
