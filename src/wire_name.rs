//! Domain names in wire format without compression (RFC 1035 §3.1): labels, each behind an octet with its length; the
//! root's empty label ends a name.
//!
//! The one place that reads lengths of labels out of octets. No function reads behind the octets that are given, follows
//! compression pointers, or accepts a label that is longer than the limit.

/// Maximum number of octets of a label (RFC 1035 §2.3.4).
pub(crate) const MAX_LABEL_OCTETS: usize = 63;

/// Maximum number of octets of a name: labels with their length octets and the root's empty label (RFC 1035 §2.3.4).
pub(crate) const MAX_NAME_OCTETS: usize = 255;

/// The first label and the octets behind it.
///
/// `None` at the root's label, at the end of the octets, at a label that is cut short, and at an octet that is no length of
/// a label, such as the first octet of a compression pointer.
pub(crate) fn split_label(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = octets.split_first()?;
    match usize::from(len) {
        len @ 1..=MAX_LABEL_OCTETS => rest.split_at_checked(len),
        _ => None,
    }
}

/// The labels from the first one on, up to where [`split_label`] finds none.
pub(crate) fn labels(mut octets: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    std::iter::from_fn(move || {
        let (label, rest) = split_label(octets)?;
        octets = rest;
        Some(label)
    })
}

/// Length in octets of the name that the octets begin with, the root's label included.
///
/// `None` if it is cut short, is longer than a name may be, or has what is no label, such as a compression pointer.
#[inline]
pub(crate) fn name_len(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match usize::from(*octets.get(at)?) {
            0 => return (at < MAX_NAME_OCTETS).then_some(at + 1),
            len @ 1..=MAX_LABEL_OCTETS => at += 1 + len,
            _ => return None,
        }
    }
}

/// Appends a label behind its length. The label has at most [`MAX_LABEL_OCTETS`], as labels of every [`Name`] have.
///
/// [`Name`]: hickory_proto::rr::Name
pub(crate) fn push_label(octets: &mut Vec<u8>, label: &[u8]) {
    debug_assert!(label.len() <= MAX_LABEL_OCTETS, "a label of {} octets", label.len());
    // Cut, a label that is too long gives another name, but never octets that cannot be read back.
    let label = &label[..label.len().min(MAX_LABEL_OCTETS)];
    let [len, ..] = label.len().to_le_bytes();
    octets.push(len);
    octets.extend_from_slice(label);
}

/// Whether two names are equal but for letter case (RFC 4343). Octets of lengths are below those of letters.
pub(crate) fn same_name_octets(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Whether a name is a zone's apex or below it, in any letter case.
pub(crate) fn is_in_zone(mut name: &[u8], zone: &[u8]) -> bool {
    while name.len() > zone.len() {
        let Some((_, rest)) = split_label(name) else { return false };
        name = rest;
    }
    same_name_octets(name, zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(octets: &[u8]) -> Vec<&[u8]> {
        labels(octets).collect()
    }

    #[test]
    fn labels_end_where_the_name_does() {
        assert_eq!(all(b"\x01a\x02bc\0\x01d"), [&b"a"[..], b"bc"]);
        assert_eq!(all(b"\x01a\x02bc"), [&b"a"[..], b"bc"], "without the root's label");
        assert_eq!(all(b"\x01a\x02b"), [&b"a"[..]], "a label that is cut short");
        assert_eq!(all(b"\x01a\xc0\x0c"), [&b"a"[..]], "a compression pointer");
        assert_eq!(all(&[&[64], &[b'x'; 64][..]].concat()), [&b""[..]; 0], "a label of 64 octets");
        assert!(all(b"\0").is_empty() && all(b"").is_empty());
    }

    #[test]
    fn a_name_is_as_long_as_its_labels_to_the_root() {
        for (octets, len) in [
            (&b"\x01a\x02bc\0\x01d"[..], Some(6)),
            (b"\0", Some(1)),
            (b"", None),
            (b"\x01a\x02bc", None),
            (b"\x01a\x02b", None),
            (b"\x01a\xc0\x0c\0", None),
            (&[64; 70], None),
        ] {
            assert_eq!(name_len(octets), len, "{octets:?}");
        }
        let longest = [&[1, b'x'].repeat(127)[..], &[0]].concat();
        assert_eq!((longest.len(), name_len(&longest)), (255, Some(255)));
        assert_eq!(name_len(&[b"\x01x", &longest[..]].concat()), None);
    }

    #[test]
    fn names_are_in_a_zone_by_whole_labels() {
        for (name, zone, is) in [
            (&b"\x01a\x01b\0"[..], &b"\x01B\0"[..], true),
            (b"\x01a\x01b\0", b"\x01A\x01B\0", true),
            (b"\x01a\x01b\0", b"\0", true),
            (b"\0", b"\0", true),
            (b"\x01b\0", b"\x01a\x01b\0", false),
            (b"\x02ab\0", b"\x01b\0", false),
            (b"\x03a\x01b\0", b"\x01b\0", false),
        ] {
            assert_eq!(is_in_zone(name, zone), is, "{name:?} {zone:?}");
        }
    }

    #[test]
    fn a_label_can_be_read_back() {
        let mut octets = Vec::new();
        push_label(&mut octets, &[b'x'; MAX_LABEL_OCTETS]);
        push_label(&mut octets, b"y");
        assert_eq!(split_label(&octets), Some((&[b'x'; 63][..], &b"\x01y"[..])));
    }
}
