//! Compact denial of existence (RFC 9824): one NSEC at the name asked for, whichever is missing, the name or its data.

use super::raw_rdata::raw_rdata;
use super::{bitmap, canonical};
use crate::answer::{Denial, Missing, NXNAME};
use crate::wire_name::{MAX_LABEL_OCTETS, MAX_NAME_OCTETS, push_label, split_label};
use hickory_proto::rr::{Name, Record, RecordType};

/// The NSEC of a denial: from the name to the next name that can exist.
pub(super) fn nsec(denial: &Denial, ttl: u32) -> Record {
    let (types, missing) = match &denial.missing {
        Missing::Data(types) => (types.as_slice(), None),
        Missing::Name { .. } => (&[][..], Some(NXNAME)),
    };
    let own_types = [RecordType::RRSIG, RecordType::NSEC];
    let mut rdata = next_name(&denial.name);
    rdata.extend(bitmap::octets(types.iter().copied().chain(own_types).chain(missing)));
    Record::from_rdata(denial.name.clone(), ttl, raw_rdata(RecordType::NSEC, rdata))
}

/// The octets of the name that follows in canonical order with no name between (RFC 4471 §3.1.2, RFC 9824 §3.1).
fn next_name(name: &Name) -> Vec<u8> {
    let octets = canonical::name_octets(name);
    if octets.len() + 2 <= MAX_NAME_OCTETS {
        return with_first_label(&[0], &octets);
    }
    match split_label(&octets) {
        Some((label, rest)) if octets.len() < MAX_NAME_OCTETS && label.len() < MAX_LABEL_OCTETS => {
            with_first_label(&[label, &[0]].concat(), rest)
        }
        _ => next_sibling(&octets),
    }
}

/// The next name in canonical order that is neither the name with these octets nor below it; the root at the end.
fn next_sibling(octets: &[u8]) -> Vec<u8> {
    let Some((label, rest)) = split_label(octets) else { return octets.to_vec() };
    // The last octet that is not the greatest yet is raised, and the octets behind it are left out.
    let Some(last) = label.iter().rposition(|octet| *octet != 0xff) else { return next_sibling(rest) };
    let mut label = label[..=last].to_vec();
    // Capital letters sort as small ones, so they are left out.
    label[last] = if label[last] == b'@' { b'[' } else { label[last] + 1 };
    with_first_label(&label, rest)
}

/// The octets of a label, and of the name that it is the first label of.
fn with_first_label(label: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(1 + label.len() + rest.len());
    push_label(&mut octets, label);
    octets.extend_from_slice(rest);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    #[test]
    fn the_next_name_always_fits() {
        assert_eq!(next_name(&name("a.example.")), b"\x01\0\x01a\x07example\0");
        let label = "x".repeat(63);
        let long = |first: &str| name(&format!("{first}.{label}.{label}.{label}."));
        // 1 + 3 * 64 octets, and those of the first label.
        for len in 58..=61 {
            let full = long(&"y".repeat(len));
            let octets = next_name(&full);
            assert!(octets.len() <= 255, "{len}");
            // One more label, one more octet in the label, or a greater octet in its place.
            let label = &octets[1..=usize::from(octets[0])];
            assert!(label == [0] || *label > *"y".repeat(len).as_bytes(), "{len}");
        }
        let labels = [&[0xff; 61][..], label.as_bytes(), label.as_bytes(), label.as_bytes()];
        let last = next_name(&Name::from_labels(labels).expect("a name"));
        assert_eq!(last[..2], [63, b'x'], "the label that cannot grow falls away");
    }
}
