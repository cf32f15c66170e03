//! Question keys: what decides about the reply to a query, read from its octets without parsing the message.

use super::HEADER;
use super::encode::OPT_OCTETS;
use super::request::STUB_MARKER;
use crate::wire_name::name_len;

/// Maximum length of a key, in octets: what stands before the name, and the longest name.
pub const MAX_QUESTION_KEY: usize = BEFORE_NAME + 255;

/// Octets of a key before the name: flags (2), EDNS (1), limit (2), type (2), class (2).
const BEFORE_NAME: usize = 9;

/// Flags of the header that a query with a key may have set: RD in the first octet, AD and CD in the second.
const ORDINARY_FLAGS: [u8; 2] = [0x01, 0x30];

/// The bits of EDNS in a key: there is an OPT record, it has DO set, it has CO set.
const HAS_OPT: u8 = 1;
const DNSSEC_OK: u8 = 2;
const COMPACT_OK: u8 = 4;

/// The key of a question, and what else was read of its packet on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuestionKey {
    /// Length of the key, in octets.
    pub len: usize,
    /// Offset of the end of the question.
    pub question_end: usize,
    /// The type in the question.
    pub rtype: u16,
    /// The class in the question.
    pub class: u16,
    /// Whether there is an OPT record.
    pub has_opt: bool,
    /// Whether DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// The most octets that the reply may have.
    pub limit: u16,
}

impl QuestionKey {
    /// The name in lower case, in the key.
    pub fn name(self, key: &[u8; MAX_QUESTION_KEY]) -> &[u8] {
        &key[BEFORE_NAME..self.len]
    }
}

/// Writes the key of a packet's question: all that decides about the reply over UDP, but for the id and
/// the letter case of the name, which the reply takes from the query. `max_reply` is the most octets that the client is sent.
///
/// `None` is for every query that is out of the ordinary: another opcode, more than one question, a pointer in the name, an
/// option that may matter, octets behind the message. [`screen`](super::screen) judges such queries.
pub fn question_key(packet: &[u8], max_reply: u16, key: &mut [u8; MAX_QUESTION_KEY]) -> Option<QuestionKey> {
    let header = packet.first_chunk::<HEADER>()?;
    let plain = header[2] & !ORDINARY_FLAGS[0] == 0 && header[3] & !ORDINARY_FLAGS[1] == 0;
    let [0, 1, 0, 0, 0, 0, 0, additionals @ (0 | 1)] = header[4..] else { return None };
    let name = name_len(&packet[HEADER..]).filter(|_| plain)?;
    let question_end = HEADER + name + 4;
    let (question, rest) = packet.split_at_checked(question_end)?;
    let (edns, limit) = if additionals == 1 { opt(rest, max_reply)? } else { (0, 512) };
    if additionals == 0 && !rest.is_empty() {
        return None;
    }
    key[..2].copy_from_slice(&header[2..4]);
    key[2] = edns;
    key[3..5].copy_from_slice(&limit.to_be_bytes());
    key[5..BEFORE_NAME].copy_from_slice(&question[HEADER + name..]);
    let lower = &mut key[BEFORE_NAME..BEFORE_NAME + name];
    lower.copy_from_slice(&question[HEADER..HEADER + name]);
    // Octets of lengths are below those of letters.
    lower.make_ascii_lowercase();
    let [.., type_high, type_low, class_high, class_low] = *question else { return None };
    Some(QuestionKey {
        len: BEFORE_NAME + name,
        question_end,
        rtype: u16::from_be_bytes([type_high, type_low]),
        class: u16::from_be_bytes([class_high, class_low]),
        has_opt: edns & HAS_OPT != 0,
        dnssec_ok: edns & DNSSEC_OK != 0,
        limit,
    })
}

/// The EDNS bits of a key and the limit of the reply that an OPT record gives; `None` if there are octets beside the record.
fn opt(octets: &[u8], max_reply: u16) -> Option<(u8, u16)> {
    let (fixed, options) = octets.split_at_checked(OPT_OCTETS)?;
    // Root, type 41, the size, no extended rcode, version 0, flags, the octets of all options.
    let [0, 0, 41, size_high, size_low, 0, 0, flags, 0, len_high, len_low] = *fixed else { return None };
    if usize::from(u16::from_be_bytes([len_high, len_low])) != options.len() || flags & 0x3f != 0 {
        return None;
    }
    if !options.is_empty() && !have_no_effect(options) {
        return None;
    }
    let dnssec_ok = if flags & 0x80 != 0 { DNSSEC_OK } else { 0 };
    let compact_ok = if flags & 0x40 != 0 { COMPACT_OK } else { 0 };
    let limit = u16::from_be_bytes([size_high, size_low]).clamp(512, max_reply);
    Some((HAS_OPT | dnssec_ok | compact_ok, limit))
}

/// Whether options fill their record exactly, and none decides about a reply: of all options only the loop marker does.
fn have_no_effect(mut options: &[u8]) -> bool {
    while let Some((head, rest)) = options.split_first_chunk::<4>() {
        let [code_high, code_low, len_high, len_low] = *head;
        let len = usize::from(u16::from_be_bytes([len_high, len_low]));
        let decides = u16::from_be_bytes([code_high, code_low]) == STUB_MARKER.0;
        match rest.split_at_checked(len) {
            Some((_, rest)) if !decides => options = rest,
            _ => return false,
        }
    }
    options.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a.Bc.` A IN with id 7 and RD.
    const QUERY: [u8; 22] = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 2, b'B', b'c', 0, 0, 1, 0, 1];

    fn with_opt(size: u16, flags: u8, options: &[u8]) -> Vec<u8> {
        let mut packet = QUERY.to_vec();
        packet[11] = 1;
        packet.extend([0, 0, 41]);
        packet.extend(size.to_be_bytes());
        packet.extend([0, 0, flags, 0, 0, u8::try_from(options.len()).expect("few")]);
        packet.extend_from_slice(options);
        packet
    }

    fn key(packet: &[u8]) -> Option<Vec<u8>> {
        let mut key = [0; MAX_QUESTION_KEY];
        question_key(packet, 4_096, &mut key).map(|question| key[..question.len].to_vec())
    }

    #[test]
    fn a_key_holds_what_decides_about_the_reply() {
        let plain = key(&QUERY).expect("plain");
        assert_eq!(plain, [1, 0, 0, 2, 0, 0, 1, 0, 1, 1, b'a', 2, b'b', b'c', 0]);
        let mut other = QUERY;
        (other[1], other[15]) = (9, b'b');
        assert_eq!(key(&other), Some(plain.clone()), "neither id nor letter case");
        for (at, octet) in [(2, 0), (3, 0x10), (3, 0x20), (13, b'b'), (19, 28), (21, 3)] {
            let mut other = QUERY;
            other[at] = octet;
            assert!(key(&other).is_some_and(|key| key != plain), "octet {at}");
        }
        let edns = key(&with_opt(1232, 0, &[])).expect("plain");
        assert_ne!(edns, plain);
        for options in
            [&[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8][..], &[0, 8, 0, 1, 9], &[0xff, 0, 0, 0, 0, 3, 0, 0]]
        {
            assert_eq!(key(&with_opt(1232, 0, options)), Some(edns.clone()), "{options:?}");
        }
        for other in [with_opt(1231, 0, &[]), with_opt(1232, 0x80, &[]), with_opt(1232, 0x40, &[])] {
            assert!(key(&other).is_some_and(|key| key != edns));
        }
        assert_eq!(key(&with_opt(100, 0, &[])), key(&with_opt(512, 0, &[])), "less than 512 is 512");
        assert_eq!(key(&with_opt(9_000, 0, &[])), key(&with_opt(4_096, 0, &[])));
        let mut of_other = [0; MAX_QUESTION_KEY];
        let question = question_key(&with_opt(4_096, 0, &[]), 1_232, &mut of_other).expect("plain");
        assert_eq!(
            Some(of_other[..question.len].to_vec()),
            key(&with_opt(1_232, 0, &[])),
            "a client beyond the host"
        );
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_left_to_others() {
        for len in 0..QUERY.len() {
            assert_eq!(key(&QUERY[..len]), None, "{len} octets");
        }
        for (at, octet) in [
            (2, 0x81),
            (2, 0x29),
            (2, 5),
            (2, 3),
            (3, 0x80),
            (3, 1),
            (5, 2),
            (7, 1),
            (9, 1),
            (11, 1),
            (11, 2),
            (12, 0xc0),
            (12, 0x41),
        ] {
            let mut odd = QUERY;
            odd[at] = octet;
            assert_eq!(key(&odd), None, "octet {at} is {octet:#x}");
        }
        assert_eq!(key(&[&QUERY[..], &[0]].concat()), None, "octets behind");
        let whole = with_opt(1232, 0, &[0, 10, 0, 1, 9]);
        assert!(key(&whole).is_some());
        for len in QUERY.len()..whole.len() {
            assert_eq!(key(&whole[..len]), None, "{len} octets");
        }
        assert_eq!(key(&[&whole[..], &[0]].concat()), None, "octets behind");
        assert_eq!(key(&with_opt(1232, 0x20, &[])), None, "an unknown flag");
        for options in [&[0, 10, 0, 2, 9][..], &[0, 10, 0], &[0, 8, 0, 1], &[0xfd, 0xf3, 0, 1, 1]] {
            assert_eq!(key(&with_opt(1232, 0, options)), None, "{options:?}");
        }
        let mut version = with_opt(1232, 0, &[]);
        version[22 + 6] = 1;
        assert_eq!(key(&version), None);
    }

    #[test]
    fn names_are_as_long_as_names_may_be() {
        let packet = |last: usize| {
            let mut packet = QUERY[..HEADER].to_vec();
            for len in [63, 63, 63, last] {
                packet.push(u8::try_from(len).expect("a label"));
                packet.extend(vec![b'x'; len]);
            }
            packet.extend([0, 0, 1, 0, 1]);
            packet
        };
        assert!(key(&packet(61)).is_some());
        assert!(key(&packet(62)).is_none());
        let root = [&QUERY[..HEADER], &[0, 0, 1, 0, 1]].concat();
        assert_eq!(key(&root).map(|key| key.len()), Some(BEFORE_NAME + 1));
    }
}
