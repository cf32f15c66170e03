//! `skydns completions`: scripts for the completion of shells, from the table of settings and the list of commands.

use crate::config::{CommandEntry, CommandOperand, Setting, all_commands, flags};
use std::fmt::Write;

/// Flags whose value is one of some words.
const CHOICES: [(&str, &str); 2] =
    [("log", "stderr syslog syslog5424"), ("log-level", "error warn info debug")];

/// The script for a shell; `None` if the shell is unknown.
pub(super) fn text(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

/// Whether a flag's value is a file or a directory.
fn takes_path(flag: &&Setting) -> bool {
    matches!(flag.takes, Some("FILE" | "DIR"))
}

/// The words that may follow a command; none if they are the flags of the agent.
fn words(entry: &CommandEntry) -> Vec<&'static str> {
    if entry.word == "help" {
        return all_commands().map(|entry| entry.word).collect();
    }
    entry.details.iter().filter_map(CommandOperand::word).collect()
}

/// Whether the flags of the agent may follow a command.
fn takes_flags(entry: &CommandEntry) -> bool {
    entry.operands.contains("[FLAG]")
}

fn bash() -> String {
    let flag_words = flags().map(|flag| format!("-{}", flag.name)).collect::<Vec<_>>().join(" ");
    let paths =
        flags().filter(takes_path).map(|flag| format!("-{}", flag.name)).collect::<Vec<_>>().join("|");
    let command_words = all_commands().map(|entry| entry.word).collect::<Vec<_>>().join(" ");
    let offer = |words: &str| format!("COMPREPLY=($(compgen -W '{words}' -- \"$current\")); return ;;\n");
    let mut script = format!(
        "# bash completion for skydns\n\
         _skydns() {{\n    \
             local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} word\n    \
             case $before in\n        \
                 {paths}|-K) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n"
    );
    for (flag, values) in CHOICES {
        let _ = write!(script, "        -{flag}) {}", offer(values));
    }
    script
        .push_str("    esac\n    for word in \"${COMP_WORDS[@]:0:COMP_CWORD}\"; do\n        case $word in\n");
    for entry in all_commands().filter(|entry| !takes_flags(entry)) {
        let words = [words(entry), vec!["--help"]].concat().join(" ");
        let files = if entry.word == "ds" { "-f " } else { "" };
        let _ = writeln!(
            script,
            "            {}) COMPREPLY=($(compgen {files}-W '{words}' -- \"$current\")); return ;;",
            entry.word
        );
    }
    let _ = write!(
        script,
        "        esac\n    done\n    \
             COMPREPLY=($(compgen -W '{command_words} {flag_words} --help --version' -- \"$current\"))\n\
         }}\n\
         complete -F _skydns skydns\n"
    );
    script
}

fn zsh() -> String {
    let mut text = String::from("#compdef skydns\n\nlocal line state\n_arguments -S \\\n");
    for flag in flags() {
        let choice = CHOICES.iter().find(|(name, _)| *name == flag.name);
        let value = match (flag.takes, choice) {
            (_, Some((_, values))) => format!(":{}:({values})", flag.name),
            (Some("FILE"), _) => ":file:_files".to_owned(),
            (Some("DIR"), _) => ":directory:_files -/".to_owned(),
            (Some(takes), _) => format!(":{}:", takes.replace(':', "\\:")),
            (None, _) => String::new(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    '-{}[{}]{value}' \\", flag.name, in_brackets(flag.summary));
    }
    text.push_str("    '--help[print the help]' \\\n    '--version[print the version]' \\\n    '1: :((");
    for entry in all_commands() {
        let _ = write!(text, "{}\\:\"{}\" ", entry.word, in_brackets(entry.summary));
    }
    text.push_str("))' \\\n    '*::word:->words' && return\n[[ $state == words ]] && case $line[1] in\n");
    for entry in all_commands().filter(|entry| !takes_flags(entry) && !entry.operands.is_empty()) {
        let files = if matches!(entry.word, "ds" | "keygen") { "; _files" } else { "" };
        let _ = writeln!(text, "    {}) compadd -- {} --help{files} ;;", entry.word, words(entry).join(" "));
    }
    text.push_str("esac\n");
    text
}

/// A text without the characters that end a description of zsh.
fn in_brackets(text: &str) -> String {
    text.replace(['[', ']', '\'', '`', '"', ':'], "")
}

fn fish() -> String {
    let mut text = String::from("# fish completion for skydns\ncomplete -c skydns -f\n");
    for entry in all_commands() {
        let summary = quoted(entry.summary);
        let _ =
            writeln!(text, "complete -c skydns -n __fish_use_subcommand -a {} -d '{summary}'", entry.word);
    }
    for entry in all_commands() {
        let condition = format!("complete -c skydns -n '__fish_seen_subcommand_from {}'", entry.word);
        for detail in entry.details {
            let summary = quoted(detail.summary);
            let _ = match detail.word() {
                Some("-K") => writeln!(text, "{condition} -o K -r -F -d '{summary}'"),
                Some(word) if word.starts_with("--") => {
                    writeln!(text, "{condition} -l {} -d '{summary}'", word.trim_start_matches('-'))
                }
                Some(word) if word.starts_with('-') => {
                    let value = if detail.form == word { "" } else { " -x" };
                    writeln!(text, "{condition} -o {}{value} -d '{summary}'", word.trim_start_matches('-'))
                }
                Some(word) => writeln!(text, "{condition} -a {word} -d '{summary}'"),
                None if detail.form == "KEY" => writeln!(text, "{condition} -F"),
                None => Ok(()),
            };
        }
        if entry.word == "help" {
            let _ = writeln!(text, "{condition} -a '{}'", words(entry).join(" "));
        }
    }
    for flag in flags() {
        let value = match (flag.takes, takes_path(&flag)) {
            (_, true) => " -r -F".to_owned(),
            (Some(_), false) => match CHOICES.iter().find(|(name, _)| *name == flag.name) {
                Some((_, values)) => format!(" -x -a '{values}'"),
                None => " -x".to_owned(),
            },
            (None, _) => String::new(),
        };
        let _ = writeln!(text, "complete -c skydns -o {}{value} -d '{}'", flag.name, quoted(flag.summary));
    }
    text.push_str("complete -c skydns -s h -l help -d 'print the help'\n");
    text
}

/// A text between apostrophes, without marks.
fn quoted(text: &str) -> String {
    text.replace('`', "").replace('\'', "\\'")
}
