//! A label of the tree: 1 to 63 octets in lower case, stored in place if it is short.

use std::fmt;

/// Maximum number of octets that are stored in place; a label takes 24 octets then.
const MAX_INLINE_OCTETS: usize = 22;

/// One label; the root's is empty. See the module's text.
#[derive(Clone)]
pub(super) enum Label {
    Inline { len: u8, octets: [u8; MAX_INLINE_OCTETS] },
    Boxed(Box<[u8]>),
}

impl Label {
    pub(super) fn new(octets: &[u8]) -> Self {
        match u8::try_from(octets.len()) {
            Ok(len) if octets.len() <= MAX_INLINE_OCTETS => {
                let mut inline = [0; MAX_INLINE_OCTETS];
                inline[..octets.len()].copy_from_slice(octets);
                Self::Inline { len, octets: inline }
            }
            _ => Self::Boxed(octets.into()),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, octets } => &octets[..usize::from(*len)],
            Self::Boxed(octets) => octets,
        }
    }

    /// Whether subtree answers pass over the name: labels that begin with `_` are hidden, as keys of etcd v2 are.
    pub(super) fn is_hidden(&self) -> bool {
        self.as_bytes().first() == Some(&b'_')
    }
}

impl Default for Label {
    fn default() -> Self {
        Self::new(b"")
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// The first eight octets of a label or of its end, as a number in the same order.
pub(super) fn prefix(label: &[u8]) -> u64 {
    let mut head = [0; 8];
    let len = label.len().min(8);
    head[..len].copy_from_slice(&label[..len]);
    u64::from_be_bytes(head)
}
