//! The texts of `--help`: of the program, and of each command.

use super::markup::plain;
use crate::config::{
    CommandEntry, CommandOperand, DefaultValue, EXIT_CODES, SETTING_GROUPS, STATISTICS, Setting, all_commands,
};

/// Commands, flags, variables and exit codes, each with one line that says what it is.
pub(in crate::cli) fn help() -> String {
    let all: String = all_commands().map(command).collect();
    let mut text = format!(
        "skydns, the DNS agent of a host: answers for the site's services out of etcd or files, and\n\
         forwards the rest.\n\n\
         usage: skydns [FLAG]...\n           \
                    serve\n\
         {all}\n\
         The key /skydns/config overrides flags, flags override variables. A flag that takes no value is switched off by\n\
         =false, as in -round-robin=false.\n",
    );
    for group in &SETTING_GROUPS {
        text.push_str(&format!("\n{}:\n", group.title));
        group.settings.iter().for_each(|setting| text.push_str(&flag(setting)));
    }
    text.push_str("\nVariables for statistics, without flags:\n");
    for variable in &STATISTICS {
        let default = default(variable.default);
        text.push_str(&format!("  {:<24} {}{default}\n", variable.name, plain(variable.summary)));
    }
    text.push_str("\nExit codes:\n");
    EXIT_CODES.iter().for_each(|entry| text.push_str(&exit_code(entry.code, entry.meaning)));
    text
}

/// All about one command.
pub(in crate::cli) fn command_help(entry: &CommandEntry) -> String {
    let mut text = format!("skydns {}: {}\n\nusage: {}\n", entry.word, entry.summary, usage(entry));
    if !entry.details.is_empty() {
        text.push_str("\nOperands and options:\n");
        entry.details.iter().for_each(|detail| text.push_str(&operand("  ", detail)));
    }
    text.push_str("\nExit codes:\n");
    entry.exit_codes.iter().for_each(|(code, meaning)| text.push_str(&exit_code(*code, meaning)));
    text
}

fn usage(entry: &CommandEntry) -> String {
    format!("skydns {} {}", entry.word, entry.operands).trim_end().to_owned()
}

/// A command with its own operands; those that are flags of the agent have lists of their own.
fn command(entry: &CommandEntry) -> String {
    let mut text = format!("       {}\n           {}\n", usage(entry), entry.summary);
    for detail in entry.details.iter().filter(|detail| detail.form != "FLAG") {
        text.push_str(&operand("             ", detail));
    }
    text
}

fn operand(indent: &str, operand: &CommandOperand) -> String {
    format!("{indent}{:<21} {}\n", operand.form, operand.summary)
}

fn exit_code(code: u8, meaning: &str) -> String {
    format!("  {code:<3} {}\n", plain(meaning))
}

fn flag(setting: &Setting) -> String {
    let head = match setting.takes {
        Some(takes) => format!("-{} {takes}", setting.name),
        None => format!("-{}", setting.name),
    };
    let default = default(setting.default);
    let variable = setting.variables.first().map_or_else(String::new, |name| format!(" [{name}]"));
    format!("  {head:<24} {}{default}{variable}\n", plain(setting.summary))
}

/// The default in parentheses; none for a switch that is off, and for what is not set.
fn default(default: DefaultValue) -> String {
    match default {
        DefaultValue::Value("false") => String::new(),
        DefaultValue::Unset(text) if text.starts_with("none") => String::new(),
        DefaultValue::Value(text) | DefaultValue::Unset(text) => format!(" ({})", plain(text)),
    }
}
