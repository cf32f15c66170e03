//! The type bit map of NSEC and NSEC3 (RFC 4034 §4.1.2).

use hickory_proto::rr::RecordType;
use std::collections::BTreeMap;

/// The bit map of types, which may come in any order.
pub(super) fn octets(types: impl IntoIterator<Item = RecordType>) -> Vec<u8> {
    let mut windows = BTreeMap::<u8, Vec<u8>>::new();
    for rtype in types {
        let [window, low] = u16::from(rtype).to_be_bytes();
        let (octet, bit) = (usize::from(low / 8), 0x80 >> (low % 8));
        let bits = windows.entry(window).or_default();
        bits.resize(bits.len().max(octet + 1), 0);
        bits[octet] |= bit;
    }
    let mut octets = Vec::new();
    for (window, bits) in windows {
        // A window has at most 32 octets, so the low octet of the length says it all.
        let [len, ..] = bits.len().to_le_bytes();
        octets.extend([window, len]);
        octets.extend(bits);
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_rfc() {
        // RFC 4034 §4.3: A MX RRSIG NSEC TYPE1234.
        let types =
            [RecordType::NSEC, RecordType::MX, RecordType::Unknown(1234), RecordType::RRSIG, RecordType::A];
        let mut expected = vec![0, 6, 0x40, 1, 0, 0, 0, 3, 4, 27];
        expected.extend([0; 26]);
        expected.push(0x20);
        assert_eq!(octets(types), expected);
        assert!(octets([]).is_empty());
    }
}
