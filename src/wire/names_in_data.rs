//! Where domain names stand in the data of records: what has to be known to move a record from one message to another.
//!
//! A name may be compressed on the wire in data of the types of RFC 1035 alone; receivers read compressed names in some
//! more types all the same (RFC 3597 §4, RFC 6672 §2.5). Data of every other type are octets without meaning here.

use super::message_reader::{MessageReader, ReadError};
use crate::wire_name::split_label;
use hickory_proto::rr::RecordType;

/// The first octet of a compression pointer is at least this.
const POINTER: u8 = 0xc0;

/// The data of a type that holds names, in the order of the fields. What stands behind the names is octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NamesInData {
    /// Octets before the names.
    fixed: usize,
    /// Character strings behind these octets (RFC 1035 §3.3).
    strings: usize,
    names: usize,
    /// Whether the names may be compressed when they are written.
    pub(super) may_be_compressed: bool,
}

impl NamesInData {
    /// The names in the data of a type; `None` if there are none, or none that a sender may have compressed.
    pub(super) fn of(rtype: RecordType) -> Option<Self> {
        let plain = |fixed, names| Some(Self { fixed, strings: 0, names, may_be_compressed: false });
        let compressed = |fixed, names| Some(Self { may_be_compressed: true, fixed, strings: 0, names });
        match u16::from(rtype) {
            // NS, MD, MF, CNAME, MB, MG, MR, PTR
            2..=5 | 7..=9 | 12 => compressed(0, 1),
            // SOA, MINFO
            6 | 14 => compressed(0, 2),
            // MX
            15 => compressed(2, 1),
            // RP
            17 => plain(0, 2),
            // AFSDB, RT, KX
            18 | 21 | 36 => plain(2, 1),
            // SIG
            24 => plain(18, 1),
            // PX
            26 => plain(2, 2),
            // NXT, DNAME
            30 | 39 => plain(0, 1),
            // SRV
            33 => plain(6, 1),
            // NAPTR
            35 => Some(Self { fixed: 4, strings: 3, names: 1, may_be_compressed: false }),
            _ => None,
        }
    }

    /// Appends data with their names written out. Data that have another form than those of the type stay as they are:
    /// it is for the client to judge them.
    ///
    /// # Errors
    /// They have another form, and may hold pointers, which are worth nothing in another message.
    pub(super) fn write_out(self, data: &MessageReader<'_>, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let begun = out.len();
        if self.try_write_out(data.clone(), out).is_ok() {
            return Ok(());
        }
        out.truncate(begun);
        let octets = data.clone().rest();
        if octets.iter().any(|octet| *octet >= POINTER) {
            return Err(ReadError::Malformed("the data of a record do not have the form of their type"));
        }
        out.extend_from_slice(octets);
        Ok(())
    }

    fn try_write_out(self, mut data: MessageReader<'_>, out: &mut Vec<u8>) -> Result<(), ReadError> {
        out.extend_from_slice(data.take(self.fixed)?);
        for _ in 0..self.strings {
            let len = data.take(1)?;
            out.extend_from_slice(len);
            out.extend_from_slice(data.take(usize::from(len[0]))?);
        }
        for _ in 0..self.names {
            data.name(out)?;
        }
        out.extend_from_slice(data.rest());
        Ok(())
    }

    /// Calls `name_end` with the offset of each name in data that begin at an offset of a message; it returns where the name
    /// ends.
    pub(super) fn each_name(
        self,
        data: usize,
        mut name_end: impl FnMut(usize) -> Option<usize>,
    ) -> Option<()> {
        debug_assert!(self.strings == 0, "such names are never compressed");
        let mut at = data + self.fixed;
        for _ in 0..self.names {
            at = name_end(at)?;
        }
        Some(())
    }

    /// Splits data whose names are written out into the octets before the first name, the names, and the octets behind
    /// them; `None` if they have another form, or hold character strings.
    pub(super) fn split(self, data: &[u8]) -> Option<SplitData<'_>> {
        let (before, mut rest) = data.split_at_checked(self.fixed).filter(|_| self.strings == 0)?;
        let mut names = [None; 2];
        for name in names.iter_mut().take(self.names) {
            let (first, behind) = rest.split_at_checked(name_len(rest)?)?;
            (*name, rest) = (Some(first), behind);
        }
        Some(SplitData { before, names, behind: rest })
    }
}

/// Data with names, in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SplitData<'a> {
    pub(super) before: &'a [u8],
    pub(super) names: [Option<&'a [u8]>; 2],
    pub(super) behind: &'a [u8],
}

/// Octets of a name that is written out, the root's label included; `None` if octets do not begin with one.
fn name_len(octets: &[u8]) -> Option<usize> {
    let mut rest = octets;
    while let Some((_, behind)) = split_label(rest) {
        rest = behind;
    }
    (rest.first() == Some(&0)).then(|| octets.len() - rest.len() + 1)
}

/// The name that data consist of, such as those of CNAME and DNAME; `None` if they are not one name.
pub(super) fn only_name(data: &[u8]) -> Option<&[u8]> {
    (name_len(data)? == data.len()).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HEADER;

    /// Writes data out that follow on `a.bc.` in a message.
    fn written_out(rtype: u16, data: &[u8]) -> Result<Vec<u8>, ReadError> {
        let message = [&[0; HEADER], &b"\x01a\x02bc\0"[..], data].concat();
        let mut reader = MessageReader::new(&message);
        reader.take(6).expect("a name");
        let mut out = vec![7];
        let names = NamesInData::of(rtype.into()).expect("a type with names");
        names.write_out(&reader.part(data.len()).expect("data"), &mut out)?;
        Ok(out.split_off(1))
    }

    #[test]
    fn names_are_written_out_in_the_types_that_may_hold_compressed_ones() {
        let (pointer, name) = (&b"\x01x\xc0\x0e"[..], &b"\x01x\x02bc\0"[..]);
        type Row<'a> = (&'a [u16], [&'a [u8]; 2], usize);
        let types: [Row<'_>; 9] = [
            (&[2, 3, 4, 5, 7, 8, 9, 12, 39], [b"", b""], 1),
            (&[6], [b"", &[9; 20]], 2),
            (&[14, 17], [b"", b""], 2),
            (&[15, 18, 21, 36], [b"\0\x0a", b""], 1),
            (&[24], [&[9; 18], b"signature"], 1),
            (&[26], [b"\0\x0a", b""], 2),
            (&[30], [b"", b"\x60\x01"], 1),
            (&[33], [b"\0\x01\0\x02\0\x03", b""], 1),
            (&[35], [b"\0\x01\0\x02\x01U\x02+1\0", b""], 1),
        ];
        for (codes, [before, behind], names) in types {
            for code in codes {
                let data = [before, &pointer.repeat(names), behind].concat();
                let plain = [before, &name.repeat(names), behind].concat();
                assert_eq!(written_out(*code, &data), Ok(plain.clone()), "type {code}");
                let split = NamesInData::of((*code).into()).and_then(|names| names.split(&plain));
                let expected = [Some(name), (names == 2).then_some(name)];
                assert_eq!(split.map(|split| split.names), (*code != 35).then_some(expected), "type {code}");
            }
        }
        for code in [1, 16, 28, 43, 46, 47, 48, 50, 64, 65, 257, 65_280] {
            assert_eq!(NamesInData::of(RecordType::from(code)), None, "type {code}");
        }
    }

    #[test]
    fn data_of_another_form_stay_as_they_are_without_pointers() {
        for (code, data) in
            [(15, &b""[..]), (15, b"\0"), (5, b"\x05ab"), (33, b"\0\0\0\0\0\0\x3f"), (35, b"\0\0\0\0\x09a")]
        {
            assert_eq!(written_out(code, data), Ok(data.to_vec()), "type {code}");
        }
        assert!(written_out(15, b"\xc0").is_err());
        assert!(written_out(5, b"\xc0\x40").is_err(), "a pointer to what comes later");
        assert_eq!(written_out(15, b"\xff\xff\x01a\0"), Ok(b"\xff\xff\x01a\0".to_vec()), "a preference");
    }

    #[test]
    fn a_target_is_one_name_and_nothing_else() {
        assert_eq!(only_name(b"\x01a\0"), Some(&b"\x01a\0"[..]));
        for data in [&b""[..], b"\x01a", b"\x01a\0\0", b"\xc0\x0c"] {
            assert_eq!(only_name(data), None, "{data:?}");
        }
    }
}
