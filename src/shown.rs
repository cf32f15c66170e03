//! Text of others as messages show it: the name of a file, a value of a store or an argument can neither forge lines, nor
//! make a terminal show something else, nor fill the screen.

/// Characters of a value that is quoted: enough to recognise it.
const MAX_QUOTED_CHARS: usize = 80;

/// Characters of what another program says: a sentence or two.
const MAX_EXCERPT_CHARS: usize = 300;

/// Characters of a line that a command prints: several values and paths, and what is said of them.
const MAX_LINE_CHARS: usize = 4_000;

/// A value to quote in an error: one line without control characters, and not too long.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        None => text.escape_debug().to_string(),
        Some((end, _)) => format!("{}…", text[..end].escape_debug()),
    }
}

/// What another program says, as one line, and the beginning alone of what is long.
pub(crate) fn excerpt(text: &str) -> String {
    beginning(text, MAX_EXCERPT_CHARS)
}

/// A whole message as one line: what could break it, or show something else, is escaped.
pub(crate) fn one_line(text: &str) -> String {
    if text.chars().all(is_harmless) {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if is_harmless(c) { vec![c] } else { c.escape_default().collect() }).collect()
}

/// A whole message as one line, and only the beginning of a very long one.
pub(crate) fn short_line(text: &str) -> String {
    beginning(text, MAX_LINE_CHARS)
}

/// So many characters of a text at most, as one line.
fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => one_line(text),
        Some((end, _)) => one_line(&text[..end]) + "…",
    }
}

fn is_harmless(c: char) -> bool {
    !c.is_control() && !is_separator(c) && !is_bidi(c)
}

/// Whether a character ends a line or paragraph in Unicode's eyes.
fn is_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Whether a character changes the direction of text, which could make a line look like another one.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_short_line() {
        assert_eq!(quoted("a\nb\u{1b}[0m\u{202e}"), "a\\nb\\u{1b}[0m\\u{202e}");
        assert_eq!(quoted(&"ü".repeat(80)), "ü".repeat(80));
        assert_eq!(quoted(&"ü".repeat(81)), "ü".repeat(80) + "…");
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(one_line("a\nb\u{1b}[0m"), "a\\nb\\u{1b}[0m");
        assert_eq!(one_line("a\u{202e}b\u{2028}c"), "a\\u{202e}b\\u{2028}c");
        assert_eq!(one_line("\"bücher\" \\ it's"), "\"bücher\" \\ it's");
        assert_eq!(short_line(&"\n".repeat(4_001)), "\\n".repeat(4_000) + "…");
    }
}
