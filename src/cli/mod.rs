//! The operator's commands and their exit codes (sysexits.h).

mod accept;
mod check;
mod completions;
mod environment;
mod keys;
mod migrate;
mod pass_keys;
mod reference;
mod reload;
mod rescue;
mod resolv_conf;

use crate::agent::{
    self, AgentError, LastGood, SettingsReader, SettledSettings, SourcesError, StartSettings, limit_hint,
};
use crate::config::{
    CONFIG, Command, GivenTexts, Layers, PERMISSION, SOFTWARE, SYSTEM, Spec, UNAVAILABLE, USAGE,
    ValuesBefore, command_usage,
};
use crate::lock::lock;
use crate::logging::{self, LogError};
use crate::server;
use crate::shown::{quoted, short_line};
use crate::systemd;
use environment::Environment;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Runs the program with arguments (without its name) and the environment.
pub fn main(args: impl IntoIterator<Item = String>) -> ExitCode {
    let args: Vec<_> = args.into_iter().collect();
    let layers = Layers { args, variables: Environment::default().read(), typed_in: None };
    let arguments = match layers.parse(&ValuesBefore::default()) {
        Ok(arguments) => arguments,
        Err(error) => return fail(USAGE, &error),
    };
    match arguments.command.clone() {
        Command::Help(None) => print(&reference::help()),
        Command::Help(Some(entry)) => print(&reference::command_help(entry)),
        Command::Version => print(&format!("skydns {}\n", crate::VERSION)),
        Command::Reload(words) => reload::run(&words),
        Command::Accept(words) => accept::run(&words),
        Command::PassKeys => pass_keys::run(),
        Command::ResolvConf(words) => resolv_conf::run(&words),
        Command::PortHolders(words) => port_holders(&words),
        Command::Completions(words) => print_one_of("completions", completions::text, &words),
        Command::Reference(words) => print_one_of("reference", reference::text, &words),
        Command::Rescue => rescue::run(layers, &arguments.spec),
        // Those below read the settings.
        _ if !arguments.flag_problems.is_empty() => {
            arguments.flag_problems.iter().for_each(|problem| complain(problem));
            ExitCode::from(USAGE)
        }
        Command::Keygen(words) => keys::generate(&words, &of_unit(layers, &arguments.spec).1.spec),
        Command::Ds(words) if words.is_empty() => {
            let layers = in_place_of_service(layers, &arguments.spec);
            keys::ds(&words, &of_unit(layers, &arguments.spec).1.spec)
        }
        Command::Ds(words) => keys::ds(&words, &arguments.spec),
        Command::Check(options) => check::run(layers, &arguments.spec, &options),
        Command::Migrate(mut options) => {
            let layers = in_place_of_service(layers, &arguments.spec);
            if let Some(dir) = &layers.typed_in {
                options.find_typed(dir);
            }
            migrate::run(&of_unit(layers, &arguments.spec).1, &options)
        }
        Command::Run => run(layers, &arguments.spec),
    }
}

/// The settings as the service has them: with the files of the unit, unless settings name others.
fn of_unit(layers: Layers, spec: &Spec) -> (Layers, SettledSettings) {
    let layers = Layers { variables: Environment::of_unit(spec).read(), ..layers };
    let settled = settled(&layers, &GivenTexts::new());
    (layers, settled)
}

/// Goes to the directory in which the service works, if the files of its unit are read: what they name is looked for where the
/// service looks, and not in the directory in which somebody types the command.
fn in_place_of_service(layers: Layers, spec: &Spec) -> Layers {
    if spec.env_file.is_some() || spec.conf_dir.is_some() {
        return layers;
    }
    let typed_in = std::env::current_dir().ok();
    match std::env::set_current_dir("/") {
        Ok(()) => Layers { typed_in, ..layers },
        Err(_) => layers,
    }
}

/// The settings that can be used of a command line that was parsed before.
fn settled(layers: &Layers, last_good: &GivenTexts) -> SettledSettings {
    agent::settle(layers, last_good, &agent::host())
}

fn run(layers: Layers, spec: &Spec) -> ExitCode {
    agent::hold_signals();
    let environment = Environment::of(spec);
    let layers = Layers { variables: environment.read(), ..layers };
    let before = settled(&layers, &GivenTexts::new());
    let file = agent::last_good_file(&before.spec);
    let last_good = file.as_deref().map_or_else(|| Ok(LastGood::default()), agent::read_last_good);
    let settled = match &last_good {
        Ok(last_good) => settled(&layers, &last_good.given),
        Err(_) => before,
    };
    let spec = &settled.spec;
    if spec.strict && !settled.refused.is_empty() {
        settled.refused.iter().for_each(|refused| complain(&refused.problem()));
        return fail(CONFIG, &"not started, because -strict is set");
    }
    let no_syslog = match logging::init(spec.log, spec.log_level) {
        Ok(problem) => problem
            .map(|error| format!("nobody takes the log at /dev/log ({error}), so it goes to standard error")),
        Err(error) => {
            let hint = if let LogError::System(source) = &error { limit_hint(source) } else { "" };
            return fail(SYSTEM, &format!("{error}{hint}"));
        }
    };
    log::info!("skydns {}", crate::VERSION);
    let last_good = last_good.unwrap_or_else(|error| {
        let file = file.as_deref().unwrap_or(Path::new("")).display();
        log::warn!("{file}: the last good settings cannot be read: {error}");
        LastGood::default()
    });
    layers.variables.notices().iter().for_each(|notice| log::warn!("{notice}"));
    let args = layers.args.clone();
    let reread: SettingsReader =
        Box::new(move || Layers { args: args.clone(), variables: environment.read(), typed_in: None });
    let code = serve(StartSettings { layers, settled, no_syslog, last_good: (last_good, file), reread });
    logging::flush();
    code
}

fn serve(settings: StartSettings) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(SYSTEM, &error),
    };
    let result = runtime.block_on(agent::run(settings));
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
        AgentError::Sources(_) | AgentError::Strict(_) | AgentError::Sockets(_) => CONFIG,
        AgentError::Bind(error) => of_system(&error.source),
        AgentError::System { source, .. } => of_system(source),
        AgentError::Ended(_) => SOFTWARE,
    }
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
                &format!(
                    "port-holders: \"{}\" is not an address and port, such as 127.0.0.1:53",
                    quoted(word)
                ),
            );
        };
        for holder in server::holders(address) {
            any_holder = true;
            say(&holder);
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
    // A reader that closes the pipe early, such as head, is no error.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Prints one line about something, whatever names of files and values of others it quotes.
fn say(text: &dyn Display) {
    print(&format!("{}\n", short_line(&text.to_string())));
}

/// Prints one line about something that is wrong. In the journal it has the priority of an error: it may say why the unit fails.
fn complain(problem: &dyn Display) {
    let prefix = if systemd::stderr_is_journal() { systemd::journal_prefix(log::Level::Error) } else { "" };
    // Standard error may be closed.
    let _ = writeln!(io::stderr(), "{prefix}skydns: {}", short_line(&problem.to_string()));
}

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    complain(error);
    ExitCode::from(code)
}
