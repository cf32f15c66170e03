//! `skydns reference`: the texts that are written from the tables of settings, commands and exit codes, for
//! `packaging/generate` and for help.
//!
//! A command of the maintainers. All functions below are pure.

mod environment;
mod help;
mod man;
mod markdown;
mod markup;

#[cfg(test)]
mod tests;

pub(super) use help::{command_help, help};

/// The text of a section; `None` if there is no such section.
pub(super) fn text(section: &str) -> Option<String> {
    match section {
        "help" => Some(help()),
        "man8" => Some(man::flags_section()),
        "man5" => Some(man::variables_section()),
        "exit-status" => Some(man::exit_status_section()),
        "markdown" => Some(markdown::tables()),
        "exit-codes" => Some(markdown::exit_codes()),
        "environment" => Some(environment::file()),
        _ => None,
    }
}
