//! The exit codes of the program: those of sysexits(3), and 1 for a question whose answer is no.

/// Exit code: everything is in order.
pub const SUCCESS: u8 = 0;
/// Exit code: the answer to the question of the command is no.
pub const NO: u8 = 1;
/// Exit code: the command line cannot be understood.
pub const USAGE: u8 = 64;
/// Exit code: services are refused.
pub const DATA: u8 = 65;
/// Exit code: something that is needed cannot be reached.
pub const UNAVAILABLE: u8 = 69;
/// Exit code: an error in this program.
pub const SOFTWARE: u8 = 70;
/// Exit code: the system refused something.
pub const SYSTEM: u8 = 71;
/// Exit code: a permission is missing.
pub const PERMISSION: u8 = 77;
/// Exit code: the configuration cannot be used.
pub const CONFIG: u8 = 78;

/// An exit code, and what it means whatever the command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCodeEntry {
    /// The code.
    pub code: u8,
    /// What it means, without a full stop.
    pub meaning: &'static str,
}

/// All exit codes, in the order of documents.
pub const EXIT_CODES: [ExitCodeEntry; 9] = [
    entry(SUCCESS, "everything is in order, or a signal ended the agent"),
    entry(
        NO,
        "`port-holders`: an address is taken; `resolv-conf status`: the host does not ask the agent; `migrate -verify`: answers differ",
    ),
    entry(USAGE, "the command line cannot be understood, or what it names is not there"),
    entry(DATA, "`check`: services are refused; `migrate`: keys cannot be carried"),
    entry(
        UNAVAILABLE,
        "`check` and `migrate`: a store cannot be reached; `reload` and `accept`: the agent has ended, or did not do it in time",
    ),
    entry(SOFTWARE, "a fault of the agent"),
    entry(
        SYSTEM,
        "the system refused something, such as an address in use; `resolv-conf enable`: the agent does not answer",
    ),
    entry(PERMISSION, "a permission is missing"),
    entry(
        CONFIG,
        "nothing is left to serve; `check`, `reload`, or with `-strict`: a setting is refused; `ds`: a key cannot be read",
    ),
];

const fn entry(code: u8, meaning: &'static str) -> ExitCodeEntry {
    ExitCodeEntry { code, meaning }
}
