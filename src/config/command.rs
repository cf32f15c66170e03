//! The commands of the program: one row for each, from which the command line is parsed and help is written.

/// What the program is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Run,
    /// Load everything, print what is wrong, and end.
    Check,
    /// Make a DNSSEC key; with the words after the command.
    Keygen(Vec<String>),
    /// Print DS, CDS and CDNSKEY records; with the words after the command.
    Ds(Vec<String>),
    /// Tell a running agent to reload, and wait; with the words after the command.
    Reload(Vec<String>),
    /// Copy private files to where the service reads them.
    PassKeys,
    /// Point /etc/resolv.conf at the agent, or back; with the words after the command.
    ResolvConf(Vec<String>),
    /// Name the programs that listen on addresses; with the words after the command.
    PortHolders(Vec<String>),
    /// Print completions; with the words after the command.
    Completions(Vec<String>),
    /// Print a text that is written from the table of settings; with the words after the command.
    Reference(Vec<String>),
    /// Answer in the place of an agent that keeps ending.
    Rescue,
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
}

/// One command of the command line.
#[derive(Debug)]
struct CommandEntry {
    /// The word of the command line.
    word: &'static str,
    /// What may follow the word, in the notation of a synopsis.
    operands: &'static str,
    /// One line for help and completions; `None` leaves the command out of both.
    summary: Option<&'static str>,
    parse: ParseCommand,
}

/// How the command is made of its word.
#[derive(Debug)]
enum ParseCommand {
    /// The word is the command. Flags may follow.
    Word(Command),
    /// All words after it belong to the command.
    Words(fn(Vec<String>) -> Command),
}

/// All commands, in the order of help and completions.
const COMMANDS: &[CommandEntry] = &[
    CommandEntry {
        word: "check",
        operands: "[FLAG]...",
        summary: Some("load everything and print every problem; exit code 0 or 78"),
        parse: ParseCommand::Word(Command::Check),
    },
    CommandEntry {
        word: "keygen",
        operands: "[-a ECDSAP256SHA256 | ECDSAP384SHA384 | ED25519] [-z] [-K DIR] [DOMAIN]",
        summary: Some("make a DNSSEC key"),
        parse: ParseCommand::Words(Command::Keygen),
    },
    CommandEntry {
        word: "ds",
        operands: "[KEY]...",
        summary: Some("print what the parent zone needs to know of DNSSEC keys"),
        parse: ParseCommand::Words(Command::Ds),
    },
    CommandEntry {
        word: "reload",
        operands: "PID",
        summary: Some("tell an agent to read its settings again, and say what it refuses (for the unit)"),
        parse: ParseCommand::Words(Command::Reload),
    },
    CommandEntry {
        word: "pass-keys",
        operands: "",
        summary: None,
        parse: ParseCommand::Word(Command::PassKeys),
    },
    CommandEntry {
        word: "resolv-conf",
        operands: "enable [--force] [ADDRESS]... | disable | status",
        summary: Some("point /etc/resolv.conf at the agent, or back"),
        parse: ParseCommand::Words(Command::ResolvConf),
    },
    CommandEntry {
        word: "port-holders",
        operands: "[ADDRESS:PORT]...",
        summary: Some("name the programs that hold an address"),
        parse: ParseCommand::Words(Command::PortHolders),
    },
    CommandEntry {
        word: "completions",
        operands: "bash | zsh | fish",
        summary: Some("print completions for a shell"),
        parse: ParseCommand::Words(Command::Completions),
    },
    CommandEntry {
        word: "reference",
        operands: "help | man8 | man5 | markdown | environment",
        summary: None,
        parse: ParseCommand::Words(Command::Reference),
    },
    CommandEntry { word: "rescue", operands: "", summary: None, parse: ParseCommand::Word(Command::Rescue) },
    CommandEntry { word: "run", operands: "", summary: None, parse: ParseCommand::Word(Command::Run) },
    CommandEntry { word: "help", operands: "", summary: None, parse: ParseCommand::Word(Command::Help) },
    CommandEntry {
        word: "version",
        operands: "",
        summary: None,
        parse: ParseCommand::Word(Command::Version),
    },
];

impl Command {
    /// The command of a word, with the words after it from `rest` if they belong to it.
    ///
    /// `None` if there is no such command.
    pub(super) fn parse(word: &str, rest: &mut impl Iterator<Item = String>) -> Option<Self> {
        Some(match &CommandEntry::by_word(word)?.parse {
            ParseCommand::Word(command) => command.clone(),
            ParseCommand::Words(command) => command(rest.collect()),
        })
    }
}

impl CommandEntry {
    fn by_word(word: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|entry| entry.word == word)
    }
}

/// The commands that help and completions show: word, operands, and summary.
pub fn shown_commands() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    COMMANDS.iter().filter_map(|entry| Some((entry.word, entry.operands, entry.summary?)))
}

/// The usage line of a command, for an error.
pub fn command_usage(word: &str) -> String {
    let operands = CommandEntry::by_word(word).map_or("", |entry| entry.operands);
    format!("usage: skydns {word} {operands}")
}
