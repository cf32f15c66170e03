//! The labels of a name in wire format, by their places in it.

use crate::wire_name::split_label;

/// Maximum number of labels of a path.
const MAX_PATH_LABELS: usize = 16;

/// The labels of a name in lower case, root first, without that of the root.
#[derive(Clone, Copy, Debug, Default)]
pub struct LabelPath<'n> {
    name: &'n [u8],
    /// Where each label's length stands, first label of the name first.
    starts: [u8; MAX_PATH_LABELS],
    count: usize,
}

impl<'n> LabelPath<'n> {
    /// The path of a name in wire format and lower case; `None` if it has more than 16 labels.
    pub fn new(name: &'n [u8]) -> Option<Self> {
        let (mut starts, mut count, mut rest) = ([0; MAX_PATH_LABELS], 0, name);
        while let Some((_, behind)) = split_label(rest) {
            *starts.get_mut(count)? = u8::try_from(name.len() - rest.len()).ok()?;
            (count, rest) = (count + 1, behind);
        }
        Some(Self { name, starts, count })
    }

    /// Number of labels.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The label so far below the root's.
    #[inline]
    pub fn get(&self, below_root: usize) -> Option<&'n [u8]> {
        let at = self.count.checked_sub(below_root + 1)?;
        let (label, _) = split_label(self.name.get(usize::from(self.starts[at])..)?)?;
        Some(label)
    }

    /// The labels, root first.
    pub fn iter(&self) -> impl Iterator<Item = &'n [u8]> + '_ {
        (0..self.count).filter_map(|below_root| self.get(below_root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_root_first() {
        let path = LabelPath::new(b"\x01a\x02bc\x05local\0").expect("a few labels");
        let labels: Vec<_> = path.iter().collect();
        assert_eq!(labels, [&b"local"[..], b"bc", b"a"]);
        assert_eq!((path.count(), path.get(1), path.get(3)), (3, Some(&b"bc"[..]), None));
        assert_eq!(LabelPath::new(b"\0").map(|path| path.count()), Some(0));
        let many = [1, b'x'].repeat(MAX_PATH_LABELS);
        assert!(LabelPath::new(&many).is_some());
        assert!(LabelPath::new(&[&many[..], &many[..2]].concat()).is_none());
    }
}
