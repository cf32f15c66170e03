//! The sections of settings and of exit codes in the man pages, in the language of man(7).

use super::markup::{TextPart, parts, sentence, sentences, with_variables};
use crate::config::{
    DefaultValue, EXIT_CODES, SETTING_GROUPS, STATISTICS, Setting, StatisticsVariable, TakesEffect,
};

/// What both pages say of a change that takes effect late.
const NEEDS_RESTART: &str = "A change needs a restart.";

/// The facts below a description begin on a line of their own.
const NEW_LINE: &str = ".br\n";

/// The flags, for skydns(8).
pub(super) fn flags_section() -> String {
    let mut page = String::new();
    for group in &SETTING_GROUPS {
        page.push_str(&heading(group.title));
        group.settings.iter().for_each(|setting| page.push_str(&flag(setting)));
    }
    page
}

/// The variables and the keys of `/skydns/config`, for skydns(5).
pub(super) fn variables_section() -> String {
    let mut page = String::new();
    for group in &SETTING_GROUPS {
        let settings: Vec<_> =
            group.settings.iter().filter(|setting| !setting.variables.is_empty()).collect();
        if !settings.is_empty() {
            page.push_str(&heading(group.title));
            settings.into_iter().for_each(|setting| page.push_str(&variable(setting)));
        }
    }
    page.push_str(&heading("Statistics"));
    page.push_str(&text(
        "Prometheus fetches its page from the agent. To Graphite, InfluxDB and StatHat the agent sends its totals since \
         the start, every ten seconds. If a server is away, only the totals of that moment are lost. These variables \
         have neither flags nor keys in `/skydns/config`, and a change needs a restart.",
    ));
    STATISTICS.iter().for_each(|variable| page.push_str(&statistics(variable)));
    page
}

/// The exit codes, for skydns(8).
pub(super) fn exit_status_section() -> String {
    let entry = |code, meaning| format!(".TP\n.B {code}\n{}", text(&sentence(meaning)));
    EXIT_CODES.iter().map(|exit| entry(exit.code, exit.meaning)).collect()
}

fn flag(setting: &Setting) -> String {
    let name = roff(setting.name);
    let mut entry = match setting.takes {
        Some(takes) => format!(".TP\n.BI \\-{name} \" {}\n", placeholder(takes)),
        None => format!(".TP\n.B \\-{name}\n"),
    };
    entry.push_str(&description(setting.summary, setting.details));
    if !setting.variables.is_empty() {
        entry.push_str(NEW_LINE);
        entry.push_str(&text(&default(setting.default)));
        entry.push_str(&text(&names("Variable", setting.variables, ", else ")));
    }
    if !setting.keys.is_empty() {
        entry.push_str(&text(&names("Field", setting.keys, " or ")));
    }
    entry + &restart(setting)
}

fn variable(setting: &Setting) -> String {
    let mut entry = head(setting.variables[0], setting.takes);
    entry.push_str(&description(&with_variables(setting.summary), &with_variables(setting.details)));
    entry.push_str(NEW_LINE);
    entry.push_str(&text(&with_variables(&default(setting.default))));
    for (name, other) in setting.variables.iter().zip(&setting.variables[1..]) {
        entry.push_str(&text(&format!("If `{name}` is not set, `{other}` counts.")));
    }
    entry.push_str(&text(&names("Flag", &[&format!("-{}", setting.name)], "")));
    if !setting.keys.is_empty() {
        entry.push_str(&text(&names("Field", setting.keys, " or ")));
    }
    entry + &restart(setting)
}

fn statistics(variable: &StatisticsVariable) -> String {
    let entry = head(variable.name, Some(variable.takes));
    entry + &description(variable.summary, variable.details) + NEW_LINE + &text(&default(variable.default))
}

/// The first lines of a variable's entry: the assignment.
fn head(name: &str, takes: Option<&str>) -> String {
    match takes {
        Some(takes) => format!(".TP\n.BI {name}= \"{}\n", placeholder(takes)),
        None => format!(".TP\n.BR {name}=true | false\n"),
    }
}

/// The rest of a head line that gives what a setting takes; a quotation mark is before it.
fn placeholder(takes: &str) -> String {
    match takes.strip_suffix(",…") {
        Some(item) => format!("{}\" \\fR[,...]\\fP", roff(item)),
        None => format!("{}\"", roff(takes)),
    }
}

fn description(summary: &str, details: &str) -> String {
    text(&sentence(summary)) + &text(details)
}

fn default(default: DefaultValue) -> String {
    match default {
        DefaultValue::Value(value) => format!("Default: `{value}`."),
        DefaultValue::Unset(text) => format!("Default: {text}."),
    }
}

fn names(what: &str, names: &[&str], between: &str) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("{what}: {}.", names.join(between))
}

/// Whether a change needs a restart; nothing for flags that set nothing.
fn restart(setting: &Setting) -> String {
    match setting.takes_effect {
        TakesEffect::Restart if !setting.variables.is_empty() => text(NEEDS_RESTART),
        TakesEffect::Restart | TakesEffect::Reload => String::new(),
    }
}

fn heading(title: &str) -> String {
    format!(".SS {}\n", roff(title))
}

/// A text, with each sentence on a line of its own.
fn text(text: &str) -> String {
    sentences(text).map(|sentence| line(sentence) + "\n").collect()
}

/// One line: files in italics, other names in bold face.
fn line(text: &str) -> String {
    let part = |part| match part {
        TextPart::Words(words) => roff(words),
        TextPart::Name(file) if file.starts_with('/') => format!("\\fI{}\\fP", roff(file)),
        TextPart::Name(name) => format!("\\fB{}\\fP", roff(name)),
    };
    let line: String = parts(text).map(part).collect();
    // A point or an apostrophe at the beginning would make the line a macro.
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

/// Escapes what roff gives a meaning to.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}
