//! A number with its noun, as texts for people have it.

/// Such as `1 name` or `2 names`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
