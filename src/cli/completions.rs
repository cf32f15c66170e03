//! `skydns completions`: scripts for the completion of shells, from the table of settings and the list of commands.

use crate::config::{Setting, flags, shown_commands};
use std::fmt::Write;

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

fn bash() -> String {
    let words = flags().map(|flag| format!("-{}", flag.name)).collect::<Vec<_>>().join(" ");
    let paths =
        flags().filter(takes_path).map(|flag| format!("-{}", flag.name)).collect::<Vec<_>>().join("|");
    let commands = shown_commands().map(|(word, ..)| word).collect::<Vec<_>>().join(" ");
    format!(
        "# bash completion for skydns\n\
         _skydns() {{\n    \
             local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}\n    \
             case $before in\n        \
                 resolv-conf) COMPREPLY=($(compgen -W 'enable disable status' -- \"$current\")); return ;;\n        \
                 completions) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$current\")); return ;;\n        \
                 -log) COMPREPLY=($(compgen -W 'stderr syslog syslog5424' -- \"$current\")); return ;;\n        \
                 {paths}) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n    \
             esac\n    \
             COMPREPLY=($(compgen -W '{commands} {words} --help --version' -- \"$current\"))\n\
         }}\n\
         complete -F _skydns skydns\n"
    )
}

fn zsh() -> String {
    let mut text = String::from("#compdef skydns\n\n_arguments -S \\\n");
    for flag in flags() {
        let help = flag.summary.replace(['[', ']', '\'', '`'], "");
        let value = match flag.takes {
            Some("FILE") => ":file:_files".to_owned(),
            Some("DIR") => ":directory:_files -/".to_owned(),
            Some(takes) => format!(":{}:", takes.replace(':', "\\:")),
            None => String::new(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    '-{}[{help}]{value}' \\", flag.name);
    }
    text.push_str("    '--help[print the flags]' \\\n    '--version[print the version]' \\\n    '1: :((");
    for (word, _, summary) in shown_commands() {
        let _ = write!(text, "{word}\\:\"{summary}\" ");
    }
    text.push_str("))' \\\n    '*::word:(enable disable status bash zsh fish)'\n");
    text
}

fn fish() -> String {
    let mut text = String::from("# fish completion for skydns\ncomplete -c skydns -f\n");
    for (word, _, summary) in shown_commands() {
        let _ = writeln!(text, "complete -c skydns -n __fish_use_subcommand -a {word} -d '{summary}'");
    }
    for (command, words) in [("resolv-conf", "enable disable status"), ("completions", "bash zsh fish")] {
        let condition = format!("__fish_seen_subcommand_from {command}");
        let _ = writeln!(text, "complete -c skydns -n '{condition}' -a '{words}'");
    }
    for flag in flags() {
        let value = match (flag.takes, takes_path(&flag)) {
            (_, true) => " -r -F",
            (Some(_), false) => " -x",
            (None, _) => "",
        };
        let _ = writeln!(
            text,
            "complete -c skydns -o {}{value} -d '{}'",
            flag.name,
            flag.summary.replace('`', "").replace('\'', "\\'")
        );
    }
    text
}
