//! The operator's commands and their exit codes (sysexits.h).

mod check;
mod completions;
mod environment;
mod keys;
mod reference;
mod resolv_conf;

use crate::agent::{self, AgentError, MetricsSettings, SettingsReader, SourcesError, Statistics, limit_hint};
use crate::config::{Arguments, Command, STATISTICS, Spec, command_usage};
use crate::lock::lock;
use crate::logging::{self, LogError};
use crate::metrics::{MetricNames, StatisticsSink};
use crate::server;
use environment::{Environment, FileProblem};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Exit code: the command line cannot be parsed.
const USAGE: u8 = 64;
/// Exit code: an error in this program.
const SOFTWARE: u8 = 70;
/// Exit code: the system refused something.
const SYSTEM: u8 = 71;
/// Exit code: a permission is missing.
const PERMISSION: u8 = 77;
/// Exit code: the configuration cannot be used.
const CONFIG: u8 = 78;

/// Runs the program with arguments (without its name) and the environment.
pub fn main(args: impl IntoIterator<Item = String>) -> ExitCode {
    let args: Vec<_> = args.into_iter().collect();
    let parsed = Arguments::parse(args.clone(), |name| std::env::var(name).ok());
    let (arguments, environment) = match parsed.map(|arguments| with_file(arguments, &args)) {
        Ok(Ok(both)) => both,
        Ok(Err(problem)) => return fail(CONFIG, &problem),
        Err(error) => return fail(USAGE, &error),
    };
    match arguments.command.clone() {
        Command::Help => print(&reference::help()),
        Command::Version => print(&format!("skydns {}\n", crate::VERSION)),
        Command::Keygen(words) => keys::generate(&words, &arguments.spec),
        Command::Ds(words) => keys::ds(&words, &arguments.spec),
        Command::ResolvConf(words) => resolv_conf::run(&words),
        Command::PortHolders(words) => port_holders(&words),
        Command::Completions(words) => print_one_of("completions", completions::text, &words),
        Command::Reference(words) => print_one_of("reference", reference::text, &words),
        Command::Check => check::run(&arguments, &environment),
        Command::Run => run(arguments, environment, args),
    }
}

/// Reads the file of variables, if one is named, and parses the arguments again with its variables.
fn with_file(arguments: Arguments, args: &[String]) -> Result<(Arguments, Environment), FileProblem> {
    let Some(file) = &arguments.spec.env_file else { return Ok((arguments, Environment::default())) };
    match Environment::read(file) {
        Ok(environment) => {
            environment.problems().iter().for_each(|problem| eprintln!("skydns: {problem}"));
            let again = Arguments::parse(args.to_vec(), |name| environment.variable(name));
            Ok((again.unwrap_or(arguments), environment))
        }
        // systemd has read the file as root, and has given its variables to the process.
        Err(problem) if crate::systemd::is_supervised() => {
            eprintln!("skydns: {problem}; a reload will fail on it");
            Ok((arguments, Environment::default()))
        }
        Err(problem) => Err(problem),
    }
}

/// The function that reads all settings again at a reload.
fn reread(args: Vec<String>, file: Option<PathBuf>, environment: Environment) -> SettingsReader {
    let started = statistics_variables(&environment);
    let statistics = Mutex::new(started.clone());
    Box::new(move || {
        let environment = match &file {
            Some(file) => environment.reread(file).map_err(|problem| problem.to_string())?,
            None => Environment::default(),
        };
        let changed = statistics_variables(&environment);
        for (index, (before, after)) in lock(&statistics).iter().zip(&changed).enumerate() {
            if before != after && started[index] != *after {
                log::warn!("{} changed: it counts from the next start on", STATISTICS[index].name);
            }
        }
        lock(&statistics).clone_from(&changed);
        environment.problems().iter().for_each(|problem| log::warn!("{problem}"));
        let arguments = Arguments::parse(args.clone(), |name| environment.variable(name));
        let arguments = arguments.map_err(|error| error.to_string())?;
        if arguments.problems.is_empty() {
            Ok(arguments.spec)
        } else {
            Err(arguments.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        }
    })
}

/// The values of the variables of statistics, which are read at the start alone.
fn statistics_variables(environment: &Environment) -> Vec<Option<String>> {
    STATISTICS.iter().map(|variable| environment.variable(variable.name)).collect()
}

fn run(arguments: Arguments, environment: Environment, args: Vec<String>) -> ExitCode {
    let metrics = metrics_settings(&environment);
    for problem in &arguments.problems {
        eprintln!("skydns: {problem}");
    }
    let metrics = match metrics {
        Ok(metrics) if arguments.problems.is_empty() => metrics,
        Ok(_) => return ExitCode::from(CONFIG),
        Err(problem) => return fail(CONFIG, &problem),
    };
    if let Err(error) = logging::init(arguments.spec.log, arguments.spec.log_level) {
        let hint = if let LogError::System(source) = &error { limit_hint(source) } else { "" };
        return fail(SYSTEM, &format!("{error}{hint}"));
    }
    log::info!("skydns {}", crate::VERSION);
    let sinks = StatisticsSink::from_variables(|name| environment.variable(name));
    let reread = reread(args, arguments.spec.env_file.clone(), environment);
    let code = serve(arguments.spec, Statistics { page: metrics, sinks }, reread);
    logging::flush();
    code
}

fn serve(spec: Spec, statistics: Statistics, reread: SettingsReader) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(SYSTEM, &error),
    };
    let result = runtime.block_on(agent::run(spec, statistics, reread));
    // Threads of sources may still wait for their stores; the end of the program does not wait for them.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(code(&error))
        }
    }
}

/// Threads that the agent has beside those of the runtime and the UDP workers, and a few more for libraries.
const OTHER_THREADS: usize = 12;

/// Most threads for work that blocks: the probe at the start, the end of workers, and names of etcd and statistics servers, which
/// are looked up one by one.
const BLOCKING_THREADS: usize = 16;

/// How long a thread for work that blocks stays: ten years. Without any such thread the runtime panics where it gets no new one.
const BLOCKING_THREAD_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Why the runtime cannot be started.
#[derive(Debug, thiserror::Error)]
enum RuntimeError {
    #[error(
        "the system gives {given} of the {wanted} threads that the agent needs: {source}{}",
        limit_hint(source)
    )]
    Threads { given: usize, wanted: usize, source: io::Error },
    #[error("starting the runtime: {0}")]
    Build(#[from] io::Error),
}

/// Starts the runtime.
fn runtime() -> Result<Runtime, RuntimeError> {
    // The runtime panics where it gets no thread.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    check_threads(2 * cores + OTHER_THREADS)?;
    let mut builder = Builder::new_multi_thread();
    builder.max_blocking_threads(BLOCKING_THREADS).thread_keep_alive(BLOCKING_THREAD_LIFE);
    let runtime = builder.enable_all().thread_name("runtime").build()?;
    // Work that blocks waits for this thread later on if the system has no other to give.
    drop(runtime.spawn_blocking(|| ()));
    Ok(runtime)
}

/// Checks that the system gives so many threads at once.
fn check_threads(wanted: usize) -> Result<(), RuntimeError> {
    /// None of these threads does anything.
    const STACK_OCTETS: usize = 64 << 10;
    let (end, ended) = std::sync::mpsc::sync_channel::<()>(0);
    let ended = Arc::new(Mutex::new(ended));
    let mut threads = Vec::with_capacity(wanted);
    let mut refused = None;
    while threads.len() < wanted && refused.is_none() {
        let ended = Arc::clone(&ended);
        // Each thread waits until the sender is dropped.
        let wait = move || lock(&ended).recv().unwrap_or_default();
        match std::thread::Builder::new().stack_size(STACK_OCTETS).spawn(wait) {
            Ok(thread) => threads.push(thread),
            Err(source) => refused = Some(source),
        }
    }
    drop(end);
    let given = threads.len();
    threads.into_iter().for_each(|thread| drop(thread.join()));
    refused.map_or(Ok(()), |source| Err(RuntimeError::Threads { given, wanted, source }))
}

fn code(error: &AgentError) -> u8 {
    let of_system = |error: &io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => PERMISSION,
        _ => SYSTEM,
    };
    match error {
        AgentError::Sources(SourcesError::Thread(_)) => SYSTEM,
        AgentError::Sources(_) | AgentError::Config(_) | AgentError::Keys(_) | AgentError::Sockets(_) => {
            CONFIG
        }
        AgentError::Bind(error) => of_system(&error.source),
        AgentError::System { source, .. } => of_system(source),
        AgentError::Ended(_) => SOFTWARE,
    }
}

/// The settings of the metrics page, from SkyDNS's variables for Prometheus; without a port there is no page.
fn metrics_settings(environment: &Environment) -> Result<Option<MetricsSettings>, MetricsProblem> {
    let variable = |name: &str| environment.variable(name).filter(|value| !value.is_empty());
    let Some(port) = variable("PROMETHEUS_PORT") else { return Ok(None) };
    let port: u16 = port.parse().map_err(|_| MetricsProblem::Port(port))?;
    let path = variable("PROMETHEUS_PATH").unwrap_or_else(|| "/metrics".to_owned());
    if !path.starts_with('/') {
        return Err(MetricsProblem::Path(path));
    }
    let default = MetricNames::default();
    let names = MetricNames {
        namespace: variable("PROMETHEUS_NAMESPACE").unwrap_or(default.namespace),
        subsystem: variable("PROMETHEUS_SUBSYSTEM").unwrap_or(default.subsystem),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for name in [&names.namespace, &names.subsystem] {
        if !name.chars().all(legal) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(MetricsProblem::Name(name.clone()));
        }
    }
    Ok((port > 0).then_some(MetricsSettings { port, path, names }))
}

/// A variable of the metrics page that cannot be used.
#[derive(Debug, thiserror::Error)]
enum MetricsProblem {
    #[error("variable PROMETHEUS_PORT: \"{0}\" is not a port")]
    Port(String),
    #[error("variable PROMETHEUS_PATH: \"{0}\" does not begin with a slash")]
    Path(String),
    #[error("variable PROMETHEUS_NAMESPACE or PROMETHEUS_SUBSYSTEM: \"{0}\" is not a metric name")]
    Name(String),
}

/// Prints the programs that listen on addresses: those of the words, or those of the package's sockets.
///
/// Exits with 1 if there is any such program.
fn port_holders(words: &[String]) -> ExitCode {
    let default = ["127.0.0.1:53".to_owned(), "[::1]:53".to_owned()];
    let mut any_holder = false;
    for word in if words.is_empty() { &default[..] } else { words } {
        let Ok(address) = word.parse() else {
            return fail(
                USAGE,
                &format!("port-holders: \"{word}\" is not an address and port, such as 127.0.0.1:53"),
            );
        };
        for holder in server::holders(address) {
            any_holder = true;
            print(&format!("{holder}\n"));
        }
    }
    if any_holder { ExitCode::FAILURE } else { print("free\n") }
}

/// Prints the text that a command's only operand names.
fn print_one_of(command: &str, text: fn(&str) -> Option<String>, words: &[String]) -> ExitCode {
    let text = match words {
        [word] => text(word),
        _ => None,
    };
    text.map_or_else(|| fail(USAGE, &command_usage(command)), |text| print(&text))
}

fn print(text: &str) -> ExitCode {
    use std::io::Write;
    // A reader that closes the pipe early, such as head, is no error.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("skydns: {error}");
    ExitCode::from(code)
}
