//! Labels beyond ASCII, which DNS has as A-labels: `bücher` is `xn--bcher-kva` (RFC 5890 §2.3.2.1).
//!
//! The mapping is that of UTS #46 (non-transitional), which browsers and resolvers of systems use for what people type.

use crate::wire_name::MAX_LABEL_OCTETS;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// ASCII characters that a label beyond ASCII must not have: all but letters, digits, `-` and `_`.
const DENIED: AsciiDenyList = AsciiDenyList::new(true, "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

/// The A-label of a label in UTF-8; `None` if it is ASCII, if IDNA does not allow it, or if the A-label would be too long.
pub(super) fn a_label(label: &[u8]) -> Option<String> {
    if label.is_ascii() {
        return None;
    }
    // Hyphens are allowed everywhere, as in labels in ASCII.
    let mapped = Uts46::new().to_ascii(label, DENIED, Hyphens::Allow, DnsLength::Ignore).ok()?;
    // Some characters are mapped to a dot or to nothing.
    ((1..=MAX_LABEL_OCTETS).contains(&mapped.len()) && !mapped.contains('.')).then(|| mapped.into_owned())
}

/// A name in text with A-labels in the place of labels beyond ASCII, which is the text itself if it is in ASCII; `None` if
/// IDNA does not allow a label.
///
/// Characters in ASCII stay as they are, but for letters of names that are not in ASCII as a whole: these are in lower case.
pub fn with_a_labels(text: &str) -> Option<String> {
    if text.is_ascii() {
        return Some(text.to_owned());
    }
    let mapped =
        Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
    mapped.ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_beyond_ascii_become_a_labels() {
        for (label, expected) in [
            ("bücher", "xn--bcher-kva"),
            ("BÜCHER", "xn--bcher-kva"),
            ("bu\u{308}cher", "xn--bcher-kva"),
            ("straße", "xn--strae-oqa"),
            ("例え", "xn--r8jz45g"),
            ("_ü", "xn--_-eha"),
            ("ﬁn", "fin"),
        ] {
            assert_eq!(a_label(label.as_bytes()).as_deref(), Some(expected), "{label}");
        }
        let long = "я".repeat(50);
        assert!(a_label(long.as_bytes()).is_some_and(|label| label.len() <= 63), "100 octets of UTF-8");
    }

    #[test]
    fn other_labels_have_no_a_label() {
        for label in [
            "bucher",
            "xn--bcher-kva",
            "",
            "a。b",
            "ü b",
            "ü/b",
            "\u{ad}",
            "\u{fffd}",
            "ü\u{202e}",
            "\u{301}x",
        ] {
            assert_eq!(a_label(label.as_bytes()), None, "{label}");
        }
        assert_eq!(a_label(b"\xff"), None, "no UTF-8");
        assert_eq!(a_label("яб".repeat(60).as_bytes()), None, "too long");
    }

    #[test]
    fn names_in_text_are_mapped_label_by_label() {
        assert_eq!(with_a_labels("Www.Example.org.").as_deref(), Some("Www.Example.org."));
        assert_eq!(with_a_labels("Www.bücher.example.").as_deref(), Some("www.xn--bcher-kva.example."));
        assert_eq!(with_a_labels("例え。jp").as_deref(), Some("xn--r8jz45g.jp"));
        assert_eq!(with_a_labels("\u{fffd}.org"), None);
    }
}
