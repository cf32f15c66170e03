//! The commands of the program, and how they are made of the command line by their [table](super::command_table).

use super::command_table::COMMANDS;

use std::path::PathBuf;

/// What the program is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Run,
    /// Load everything, print what is wrong, and end.
    Check(CheckOptions),
    /// Make a DNSSEC key; with the words after the command.
    Keygen(Vec<String>),
    /// Print DS, CDS and CDNSKEY records; with the words after the command.
    Ds(Vec<String>),
    /// Carry the services of etcd's v2 API to v3.
    Migrate(MigrateOptions),
    /// Tell a running agent to reload, and wait; with the words after the command.
    Reload(Vec<String>),
    /// Tell a running agent to let go what is gone; with the words after the command.
    Accept(Vec<String>),
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
    /// Print the help text of a command, or that of the program.
    Help(Option<&'static CommandEntry>),
    /// Print the version.
    Version,
}

/// What `check` looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Only files are read, and no store over the network.
    pub is_offline: bool,
    /// A file of variables: only what is wrong with it counts among the settings.
    pub file: Option<PathBuf>,
}

/// What `migrate` does, and where to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrateOptions {
    /// The API that is read, as it was named.
    pub from: String,
    /// The API that is written, as it was named.
    pub to: String,
    /// Nothing is written.
    pub is_dry_run: bool,
    /// Each change is carried until a signal comes.
    pub follows: bool,
    /// Answers are compared, and nothing is carried.
    pub verifies: bool,
    /// Endpoints of another store; those of the settings if there are none.
    pub to_machines: Vec<String>,
    /// The authority that signed the certificate of that store.
    pub to_ca_cert: Option<PathBuf>,
    /// The client certificate for that store, and its key.
    pub to_cert: Option<PathBuf>,
    /// The key of that certificate.
    pub to_key: Option<PathBuf>,
}

/// One command of the command line.
#[derive(Debug)]
pub struct CommandEntry {
    /// The word of the command line.
    pub word: &'static str,
    /// What may follow the word, in the notation of a synopsis.
    pub operands: &'static str,
    /// One line of text.
    pub summary: &'static str,
    /// What may follow the word, one by one.
    pub details: &'static [CommandOperand],
    /// The exit codes, each with what it means after this command.
    pub exit_codes: &'static [(u8, &'static str)],
    pub(super) parse: ParseCommand,
}

/// One operand or option of a command.
#[derive(Debug)]
pub struct CommandOperand {
    /// How it is written, in the notation of a synopsis.
    pub form: &'static str,
    /// One line of text, without a full stop.
    pub summary: &'static str,
}

/// How the command is made of its word.
#[derive(Debug)]
pub(super) enum ParseCommand {
    /// The word is the command. Flags may follow.
    Word(Command),
    /// All words after it belong to the command.
    Words(fn(Vec<String>) -> Command),
}

/// Words that ask for help after a command.
const HELP_WORDS: [&str; 3] = ["-h", "-help", "--help"];

impl Command {
    /// The command of a word, with the words after it from `rest` if they belong to it.
    ///
    /// `None` if there is no such command.
    pub(super) fn parse(word: &str, rest: &mut impl Iterator<Item = String>) -> Option<Self> {
        let entry = CommandEntry::by_word(word)?;
        Some(match &entry.parse {
            ParseCommand::Word(command) => command.clone(),
            ParseCommand::Words(command) => {
                let words: Vec<_> = rest.collect();
                let asks_for_help = words.iter().any(|word| HELP_WORDS.contains(&word.as_str()));
                if asks_for_help { Self::Help(Some(entry)) } else { command(words) }
            }
        })
    }

    /// The help on this command; without a command, that on the program.
    pub(super) fn help(&self) -> Self {
        let is_it = |entry: &&CommandEntry| matches!(&entry.parse, ParseCommand::Word(word) if word == self);
        match self {
            Self::Run => Self::Help(None),
            Self::Help(_) => self.clone(),
            _ => Self::Help(COMMANDS.iter().find(is_it)),
        }
    }
}

impl CommandEntry {
    /// The row of a command; `None` if there is no such command.
    pub fn by_word(word: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|entry| entry.word == word)
    }
}

impl CommandOperand {
    /// The word that is typed as it is written: an option, or the name of an action.
    pub fn word(&self) -> Option<&'static str> {
        let word = self.form.split([' ', '=']).next()?;
        (!word.starts_with(|letter: char| letter.is_ascii_uppercase())).then_some(word)
    }
}

impl PartialEq for CommandEntry {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl Eq for CommandEntry {}

/// All commands, in the order of help and completions.
pub fn all_commands() -> impl Iterator<Item = &'static CommandEntry> {
    COMMANDS.iter()
}

/// The usage line of a command, for an error.
pub fn command_usage(word: &str) -> String {
    let operands = CommandEntry::by_word(word).map_or("", |entry| entry.operands);
    format!("usage: skydns {word} {operands}; see skydns {word} --help")
}

#[cfg(test)]
mod tests {
    use super::super::exit_code::{EXIT_CODES, USAGE};
    use super::*;

    #[test]
    fn exit_codes_of_commands_are_in_the_table_and_all_of_the_table_are_used() {
        let of_commands = || COMMANDS.iter().flat_map(|entry| entry.exit_codes).map(|(code, _)| *code);
        let all: Vec<_> = EXIT_CODES.iter().map(|entry| entry.code).collect();
        assert!(of_commands().all(|code| all.contains(&code)));
        for entry in COMMANDS {
            // A flag that does not exist is an error of any command line.
            assert!(entry.exit_codes.iter().any(|(code, _)| *code == USAGE), "{}", entry.word);
            assert!(entry.exit_codes.is_sorted_by_key(|(code, _)| *code), "{}", entry.word);
            // What the table of all commands says of one command is in the command's own.
            let named = format!("`{}", entry.word);
            for general in EXIT_CODES.iter().filter(|general| general.meaning.contains(&named)) {
                assert!(entry.exit_codes.iter().any(|(code, _)| *code == general.code), "{}", entry.word);
            }
        }
        assert!(all.iter().all(|code| of_commands().any(|used| used == *code)));
        assert!(all.is_sorted());
    }
}
