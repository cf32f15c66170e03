//! The tables of settings and of exit codes in the guides, in Markdown.

use super::markup::sentence;
use crate::config::{DefaultValue, EXIT_CODES, SETTING_GROUPS, STATISTICS, Setting, TakesEffect};

/// A table for each group of settings, and one for statistics.
pub(super) fn tables() -> String {
    let mut tables: Vec<_> = SETTING_GROUPS
        .iter()
        .map(|group| (group.title, group.settings.iter().filter(|setting| !setting.variables.is_empty())))
        .map(|(title, settings)| (title, settings.map(row).collect::<String>()))
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(title, rows)| {
            format!(
                "### {title}\n\n\
                 | flag | variable | key of `/skydns/config` | default | what it is |\n|---|---|---|---|---|\n{rows}"
            )
        })
        .collect();
    let rows: String = STATISTICS
        .iter()
        .map(|variable| {
            let default = default(variable.default);
            format!("| `{}` | {default} | {} |\n", variable.name, sentence(variable.summary))
        })
        .collect();
    tables.push(format!("### Statistics\n\n| variable | default | what it is |\n|---|---|---|\n{rows}"));
    tables.join("\n")
}

/// The table of exit codes.
pub(super) fn exit_codes() -> String {
    let rows: String =
        EXIT_CODES.iter().map(|entry| format!("| {} | {} |\n", entry.code, entry.meaning)).collect();
    format!("| exit code | meaning |\n|---|---|\n{rows}")
}

fn row(setting: &Setting) -> String {
    let restart = match setting.takes_effect {
        TakesEffect::Restart => " A change needs a restart.",
        TakesEffect::Reload => "",
    };
    format!(
        "| `-{}` | {} | {} | {} | {}{restart} |\n",
        setting.name,
        names(setting.variables),
        names(setting.keys),
        default(setting.default),
        sentence(setting.summary)
    )
}

fn names(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

fn default(default: DefaultValue) -> String {
    match default {
        DefaultValue::Value(value) => format!("`{value}`"),
        DefaultValue::Unset(text) => text.to_owned(),
    }
}
