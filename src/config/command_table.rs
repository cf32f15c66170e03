//! The table of commands: one row for each, from which the command line is parsed, and help, completions and the manual are
//! written.

use super::command::{CheckOptions, Command, CommandEntry, CommandOperand, MigrateOptions, ParseCommand};
use super::exit_code::{CONFIG, DATA, NO, PERMISSION, SOFTWARE, SUCCESS, SYSTEM, UNAVAILABLE, USAGE};

/// All commands, in the order of help and completions.
pub(super) const COMMANDS: &[CommandEntry] = &[
    CommandEntry {
        word: "run",
        operands: "[FLAG]...",
        summary: "serve; the same as no command",
        details: FLAGS,
        exit_codes: &[
            (SUCCESS, "a signal ended the agent"),
            (USAGE, "the command line cannot be understood"),
            (SOFTWARE, "a fault of the agent"),
            (SYSTEM, "the system refused something, such as an address that another program uses"),
            (PERMISSION, "a permission is missing, such as that to use a port below 1024"),
            (CONFIG, "nothing of the configuration is left to serve, or with -strict a setting is refused"),
        ],
        parse: ParseCommand::Word(Command::Run),
    },
    CommandEntry {
        word: "check",
        operands: "[-offline] [FLAG]... [FILE]",
        summary: "read all settings and services, and print every problem",
        details: &[
            operand("-offline", "read files only, and ask no store over the network"),
            operand("FLAG", "flags of the agent, as for run"),
            operand("FILE", "file of variables, judged before it is put into its place"),
        ],
        exit_codes: &[
            (SUCCESS, "everything is in order"),
            (USAGE, "the command line cannot be understood, or FILE cannot be read"),
            (DATA, "services are refused"),
            (UNAVAILABLE, "a store cannot be reached"),
            (SYSTEM, "the system refused something, such as threads or the rights of the service's user"),
            (CONFIG, "a setting cannot be used"),
        ],
        parse: ParseCommand::Word(Command::Check(CheckOptions { is_offline: false, file: None })),
    },
    CommandEntry {
        word: "keygen",
        operands: "[-a ALGORITHM] [-z] [-K DIR] [DOMAIN]",
        summary: "make a DNSSEC key",
        details: &[
            operand("-a ALGORITHM", "ECDSAP256SHA256 (if none is named), ECDSAP384SHA384 or ED25519"),
            operand(
                "-z",
                "make a key that signs the records of the zone only (ZSK), not its keys as well (CSK)",
            ),
            operand(
                "-K DIR",
                "directory of the two files of the key; the current directory if none is named",
            ),
            operand("DOMAIN", "domain that the key is for; that of -domain (SKYDNS_DOMAIN) if none is named"),
        ],
        exit_codes: &[
            (SUCCESS, "the key is made, and the name of its files is printed"),
            (USAGE, "the command line cannot be understood"),
            (SYSTEM, "a file cannot be written, or exists already"),
            (PERMISSION, "the directory may not be written to"),
        ],
        parse: ParseCommand::Words(Command::Keygen),
    },
    CommandEntry {
        word: "ds",
        operands: "[KEY]...",
        summary: "print the DS, CDS and CDNSKEY records that the parent zone needs",
        details: &[operand(
            "KEY",
            "file of a key, with or without .key; the keys of -dnssec (SKYDNS_DNSSEC) if none is named",
        )],
        exit_codes: &[
            (SUCCESS, "the records are printed"),
            (USAGE, "the command line cannot be understood, or no key is named and none is set"),
            (CONFIG, "a key cannot be read"),
        ],
        parse: ParseCommand::Words(Command::Ds),
    },
    CommandEntry {
        word: "migrate",
        operands: "-from v2 -to v3 [-dry-run | -follow | -verify] [-to-machines URL,…] [FLAG]...",
        summary: "carry services from etcd's v2 API to v3 (run it once for a cluster, not on each host)",
        details: &[
            operand("-from v2", "the API that is read, at the endpoints of -machines"),
            operand("-to v3", "the API that is written, never over what others wrote there"),
            operand("-dry-run", "write nothing, and say what would be written"),
            operand("-follow", "carry each change as well, until a signal ends it"),
            operand("-verify", "carry nothing, and compare the answers of both APIs with those of v3 alone"),
            operand(
                "-to-machines URL,…",
                "endpoints of another store to write to; that of -machines if none is named",
            ),
            operand("-to-ca-cert FILE", "authority that signed the certificate of that store"),
            operand("-to-cert FILE", "client certificate for that store"),
            operand("-to-key FILE", "private key of that certificate"),
            operand("FLAG", "flags of the agent, such as -path-prefix and -v2-also"),
        ],
        exit_codes: &[
            (SUCCESS, "all is carried, or was in v3 already; with -verify: no answer differs"),
            (NO, "with -verify: an answer would be another one without v2"),
            (USAGE, "the command line cannot be understood"),
            (DATA, "some keys cannot be carried, and are named"),
            (UNAVAILABLE, "a store is away, or another one carries keys to it"),
            (SYSTEM, "the system refused something"),
            (CONFIG, "a setting of the stores cannot be used"),
        ],
        parse: ParseCommand::Word(Command::Migrate(NO_OPTIONS)),
    },
    CommandEntry {
        word: "reload",
        operands: "PID",
        summary: "tell an agent to read its settings again, and print what it refuses (for the unit)",
        details: &[operand("PID", "process id of the agent")],
        exit_codes: &[
            (SUCCESS, "all settings are in use"),
            (USAGE, "the command line cannot be understood, or the command was not started by the unit"),
            (UNAVAILABLE, "the agent has ended, or did not reload in time"),
            (SYSTEM, "the process cannot be told, or its report cannot be read"),
            (CONFIG, "a setting is refused"),
        ],
        parse: ParseCommand::Words(Command::Reload),
    },
    CommandEntry {
        word: "accept",
        operands: "[PID]",
        summary: "let the agent's names go that it serves on though they are gone (-hold-mass-deletion)",
        details: &[operand("PID", "process id of an agent; that of the service if it is left out")],
        exit_codes: &[
            (SUCCESS, "the names are gone, or there were none"),
            (USAGE, "the command line cannot be understood"),
            (UNAVAILABLE, "no agent runs, it has ended, or it did not let the names go in time"),
            (SYSTEM, "the process cannot be told, or its report cannot be read"),
        ],
        parse: ParseCommand::Words(Command::Accept),
    },
    CommandEntry {
        word: "pass-keys",
        operands: "",
        summary: "copy the files that only root can read to where the service reads them (for the unit)",
        details: &[],
        exit_codes: &[
            (SUCCESS, "the files are where the service reads them; those that cannot be copied are named"),
            (USAGE, "the command line cannot be understood"),
            (SYSTEM, "the directory of the copies is not named or cannot be read: only the unit names it"),
            (PERMISSION, "a permission is missing"),
        ],
        parse: ParseCommand::Word(Command::PassKeys),
    },
    CommandEntry {
        word: "resolv-conf",
        operands: "enable [--how HOW] [ADDRESS]... [--fallback ADDRESS...] | disable | status [--force] [--root=DIR]",
        summary: "make the host ask the agent (/etc/resolv.conf), or undo that",
        details: &[
            operand(
                "enable [ADDRESS]...",
                "make the host ask the agent at these addresses, or else at 127.0.0.1",
            ),
            operand("--how HOW", "auto, resolv, resolved, nm, dhclient, dhcpcd, openresolv or resolvconf"),
            operand("--fallback ADDRESS...", "servers that the host asks when the agent does not answer"),
            operand("disable", "put back what was there before"),
            operand("status", "print whether and how the host asks the agent"),
            operand(
                "--force",
                "with enable: check nothing; with disable: remove a saved file that is not put back",
            ),
            operand("--root=DIR", "change the files of the system below this directory"),
        ],
        exit_codes: &[
            (SUCCESS, "done; with status: the host asks the agent"),
            (NO, "with status: the host does not ask the agent"),
            (USAGE, "the command line cannot be understood"),
            (
                SYSTEM,
                "the agent does not answer, names are not looked up any more, another program wrote resolv.conf, or a file cannot be \
                 changed",
            ),
            (PERMISSION, "only root may change the files"),
        ],
        parse: ParseCommand::Words(Command::ResolvConf),
    },
    CommandEntry {
        word: "port-holders",
        operands: "[ADDRESS:PORT]...",
        summary: "name the programs that listen on an address",
        details: &[operand("ADDRESS:PORT", "address to look at; 127.0.0.1:53 and [::1]:53 if none is named")],
        exit_codes: &[
            (SUCCESS, "no program listens there"),
            (NO, "a program listens there, and its name is printed"),
            (USAGE, "the command line cannot be understood"),
        ],
        parse: ParseCommand::Words(Command::PortHolders),
    },
    CommandEntry {
        word: "completions",
        operands: "bash | zsh | fish",
        summary: "print completions for a shell",
        details: &[operand("bash", "for bash"), operand("zsh", "for zsh"), operand("fish", "for fish")],
        exit_codes: &[(SUCCESS, "the completions are printed"), (USAGE, "there is no such shell")],
        parse: ParseCommand::Words(Command::Completions),
    },
    CommandEntry {
        word: "help",
        operands: "[COMMAND]",
        summary: "print this text, or all about one command; the same as -h and --help",
        details: &[operand("COMMAND", "the command to print all about")],
        exit_codes: &[(SUCCESS, "the text is printed"), (USAGE, "there is no such command")],
        parse: ParseCommand::Word(Command::Help(None)),
    },
    CommandEntry {
        word: "rescue",
        operands: "[FLAG]...",
        summary: "answer on the sockets of the agent while it keeps ending (for skydns-rescue.service)",
        details: FLAGS,
        exit_codes: &[
            (SUCCESS, "a signal ended it"),
            (USAGE, "the command line cannot be understood"),
            (SYSTEM, "the system refused something"),
            (CONFIG, "systemd passed no socket"),
        ],
        parse: ParseCommand::Word(Command::Rescue),
    },
    CommandEntry {
        word: "version",
        operands: "",
        summary: "print the version; the same as --version",
        details: &[],
        exit_codes: &[(SUCCESS, "the version is printed"), (USAGE, "the command line cannot be understood")],
        parse: ParseCommand::Word(Command::Version),
    },
    CommandEntry {
        word: "reference",
        operands: "help | man8 | man5 | exit-status | markdown | exit-codes | environment",
        summary: "print a text that documents are made of (for packaging/generate)",
        details: &[],
        exit_codes: &[(SUCCESS, "the text is printed"), (USAGE, "there is no such text")],
        parse: ParseCommand::Words(Command::Reference),
    },
];

/// `migrate` before its options are read.
const NO_OPTIONS: MigrateOptions = MigrateOptions {
    from: String::new(),
    to: String::new(),
    is_dry_run: false,
    follows: false,
    verifies: false,
    to_machines: Vec::new(),
    to_ca_cert: None,
    to_cert: None,
    to_key: None,
};

/// The operands of commands that take the flags of the agent.
const FLAGS: &[CommandOperand] = &[operand("FLAG", "any flags of the agent: skydns --help lists them")];

const fn operand(form: &'static str, summary: &'static str) -> CommandOperand {
    CommandOperand { form, summary }
}
