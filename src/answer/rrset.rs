//! RRsets in a section.

use hickory_proto::rr::{Name, Record, RecordType};

/// Whether two names are equal but for letter case (RFC 4343).
///
/// Unlike `==` this compares the first labels first: names of one zone differ there.
pub fn same_name(a: &Name, b: &Name) -> bool {
    let (mut a, mut b) = (a.iter(), b.iter());
    loop {
        match (a.next(), b.next()) {
            (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Whether two neighbouring records of a section are of one RRset.
pub fn in_one_set(a: &Record, b: &Record) -> bool {
    a.record_type() == b.record_type() && same_name(&a.name, &b.name)
}

/// Whether the order of the records of an RRset says nothing, so that they may be shuffled: of each type but those that
/// lead to another name, where clients may look at the first record alone, and signatures, which belong to several sets.
pub fn has_free_order(rtype: RecordType) -> bool {
    !matches!(rtype, RecordType::CNAME | RecordType::DNAME | RecordType::PTR | RecordType::RRSIG)
}

/// The RRsets of a section in which the records of each RRset are side by side.
pub fn rrsets(section: &[Record]) -> impl Iterator<Item = &[Record]> {
    section.chunk_by(in_one_set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_whatever_case() {
        let name = |text| Name::from_ascii(text).expect("a name");
        for (a, b, same) in [
            ("a.example.", "A.Example.", true),
            ("a.example.", "b.example.", false),
            ("a.example.", "example.", false),
            ("example.", "example.com.", false),
            (".", ".", true),
        ] {
            assert_eq!(same_name(&name(a), &name(b)), same, "{a} {b}");
            assert_eq!(same_name(&name(b), &name(a)), same, "{b} {a}");
        }
    }
}
