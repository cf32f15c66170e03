//! The text of `--help`.

use super::markup::plain;
use crate::config::{DefaultValue, SETTING_GROUPS, STATISTICS, Setting, shown_commands};

/// Commands, flags and variables, each with one line that says what it is.
pub(in crate::cli) fn help() -> String {
    let commands: String = shown_commands().map(command).collect();
    let mut text = format!(
        "skydns, the DNS agent of a host: answers for the site's services out of etcd or files, and\n\
         forwards the rest.\n\n\
         usage: skydns [FLAG]...\n           \
                    serve\n\
         {commands}       \
                skydns --version | --help\n\n\
         The key /skydns/config overrides flags, flags override variables. Switches take =false.\n",
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
    text
}

fn command((word, operands, summary): (&str, &str, &str)) -> String {
    format!("       skydns {word} {operands}\n           {summary}\n")
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
