//! The command line of `payloadd`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use payload_keeper::Start;
use payload_keeper::systemd::Systemd;

use crate::config::{self, Config, KeeperKind, Problem};
use crate::{keeping, serve, telemetry};

/// Exit code for a command line or configuration that cannot be used.
const EXIT_USAGE: u8 = 2;

/// Payload Manager's server: hands out descriptors and leases for payloads in shared memory and on disk.
#[derive(Debug, Parser)]
#[command(name = "payloadd", version, arg_required_else_help = false)]
struct Arguments {
    #[command(subcommand)]
    mode: Option<Mode>,
    #[command(flatten)]
    common: Common,
}

/// What every mode takes.
#[derive(Debug, clap::Args)]
struct Common {
    /// Configuration file (TOML); without one, defaults apply
    #[arg(long, global = true, value_name = "FILE", env = "PAYLOADD_CONFIG")]
    config: Option<PathBuf>,
    /// Directory for the catalog, the disk tier and the sockets
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Loopback address for gRPC; port 0 takes a free one
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<String>,
    /// Loopback address for health and metrics [default: the port after --listen's]
    #[arg(long, global = true, value_name = "ADDR")]
    http_listen: Option<String>,
    /// When stopped, give volatile payloads up at once instead of keeping them for the next start
    #[arg(long, global = true)]
    drop_volatile: bool,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Serve in this process, under whatever supervises it; RAM payloads end with it
    Serve {
        /// Started by a keeper, which holds the segments
        #[arg(long, hide = true)]
        kept: bool,
    },
    /// Hold segments; started by the server when its keeper has died, and by a keeper that goes into the background
    #[command(hide = true)]
    Keeper(KeeperMode),
    /// Read the configuration, say what it amounts to or what is wrong with it, and exit
    CheckConfig {
        /// Ask the bucket of the object tier too whether it does what is needed; stores and removes two objects
        #[arg(long)]
        probe: bool,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct KeeperMode {
    /// Supervise the running server whose connection is on standard input
    #[arg(long)]
    adopt: bool,
    /// Take over from the keeper in the foreground and hold on without a server
    #[arg(long)]
    hold: bool,
}

/// Starts this program again, in another mode and told the same.
#[derive(Clone, Debug)]
pub(crate) struct Again {
    told: Vec<OsString>,
}

impl Again {
    /// The command of a mode: program and arguments.
    pub(crate) fn command(&self, mode: &[&str]) -> Vec<OsString> {
        let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
        std::iter::once(program.into())
            .chain(mode.iter().map(OsString::from))
            .chain(self.told.iter().cloned())
            .collect()
    }
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let env: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let set = arguments.common.overrides();
    let file = arguments.common.config.as_deref();
    if let Some(Mode::CheckConfig { probe }) = arguments.mode {
        let checked = check(config::check(file, &env, &set));
        return match Config::load(file, &env, &set) {
            Ok(config) if probe => crate::probe::run(config.tiers.object.map(|object| object.bucket)),
            Ok(_) | Err(_) => checked,
        };
    }
    let config = match Config::load(file, &env, &set) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems),
    };
    // Before anything is opened: what was handed over is known by its numbers.
    let systemd = match Systemd::from_env(&env) {
        Ok(systemd) => systemd,
        Err(error) => {
            report(&format!("payloadd: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let (again, drop_volatile) = (arguments.common.again(), arguments.common.drop_volatile);
    match arguments.mode {
        None if config.keeper.kind == KeeperKind::BuiltIn => match systemd.fds.is_empty() {
            true => keeping::run(&config, Start::Serve, &again),
            false => refuse_sockets(),
        },
        None => serve(config, None, systemd, drop_volatile),
        Some(Mode::Serve { kept }) => serve(config, kept.then_some(&again), systemd, drop_volatile),
        Some(Mode::Keeper(KeeperMode { adopt: true, .. })) => keeping::run(&config, Start::Adopt, &again),
        Some(Mode::Keeper(_)) => keeping::run(&config, Start::Hold, &again),
        Some(Mode::CheckConfig { .. }) => unreachable!("answered above"),
    }
}

/// The keeper in front starts the server, and could not hand them on to a later one.
fn refuse_sockets() -> ExitCode {
    report(
        "payloadd: systemd handed over sockets, which the built-in keeper does not use; \
         set keeper.kind = \"systemd\", or do without the socket units",
    );
    ExitCode::from(EXIT_USAGE)
}

fn serve(config: Config, keeper: Option<&Again>, systemd: Systemd, drop_volatile: bool) -> ExitCode {
    let served = telemetry::init(&config.log)
        .map_err(anyhow::Error::from)
        .and_then(|()| serve::run(config, keeper, systemd, drop_volatile));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("payloadd: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Common {
    /// How to start this program again with the same options.
    fn again(&self) -> Again {
        let path =
            |name: &str, value: &Option<PathBuf>| value.clone().map(|value| [name.into(), value.into_os_string()]);
        let text = |name: &str, value: &Option<String>| value.clone().map(|value| [name.into(), value.into()]);
        let options = [
            path("--config", &self.config),
            path("--data-dir", &self.data_dir),
            text("--listen", &self.listen),
            text("--http-listen", &self.http_listen),
        ];
        let mut told: Vec<OsString> = options.into_iter().flatten().flatten().collect();
        told.extend(self.drop_volatile.then(|| "--drop-volatile".into()));
        Again { told }
    }

    /// The command line as keys and values, which go over the environment and the file.
    fn overrides(&self) -> Vec<(String, String)> {
        let text = |key: &str, value: &Option<String>| value.clone().map(|value| (key.to_owned(), value));
        let data_dir = self.data_dir.as_ref().map(|path| path.display().to_string());
        [
            text("data_dir", &data_dir),
            text("grpc.listen", &self.listen),
            text("http.listen", &self.http_listen),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the answer to check-config is what the command is for"
)]
fn check(checked: Result<String, Vec<Problem>>) -> ExitCode {
    match checked {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(problems) => refuse(&problems),
    }
}

fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        report(&problem.to_string());
    }
    ExitCode::from(EXIT_USAGE)
}

fn report(line: &str) {
    eprintln!("{line}");
}
