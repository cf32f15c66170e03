//! The texts of settings: names between grave accents, and what each document makes of them.

use crate::config::flags;

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextPart<'a> {
    /// Words of a sentence.
    Words(&'a str),
    /// A name that a user types or sees: a flag, a file, a value.
    Name(&'a str),
}

/// The parts of a text.
pub(super) fn parts(text: &str) -> impl Iterator<Item = TextPart<'_>> {
    let part = |(index, part)| if index % 2 == 0 { TextPart::Words(part) } else { TextPart::Name(part) };
    text.split('`').enumerate().map(part)
}

/// A text without marks.
pub(super) fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// A text for readers of variables: the name of a flag becomes the name of its first variable.
pub(super) fn with_variables(text: &str) -> String {
    let rename = |part| match part {
        TextPart::Words(words) => words.to_owned(),
        TextPart::Name(name) => format!("`{}`", variable_of(name).unwrap_or(name)),
    };
    parts(text).map(rename).collect()
}

fn variable_of(flag: &str) -> Option<&'static str> {
    let name = flag.strip_prefix('-')?;
    flags().find(|setting| setting.name == name)?.variables.first().copied()
}

/// A summary as a sentence.
pub(super) fn sentence(summary: &str) -> String {
    let mut letters = summary.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// The sentences of a text, each without the blank after it.
pub(super) fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(". ").map(str::trim_end).filter(|sentence| !sentence.is_empty())
}

/// Breaks a text into lines of at most `width` characters, each with a prefix that does not count.
pub(super) fn wrap(text: &str, width: usize, prefix: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.iter().map(|line| format!("{prefix}{line}\n")).collect()
}
