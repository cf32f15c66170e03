//! Reading the messages of others: numbers, and names with compression pointers (RFC 1035 §4.1).
//!
//! Nothing is read beyond the message, and each name ends, wherever its pointers lead.

use super::HEADER;
use crate::wire_name::{MAX_LABEL_OCTETS, MAX_NAME_OCTETS};

/// Maximum number of compression pointers that are followed for one name. A name has at most 127 labels, and more than
/// one pointer for a label shortens nothing.
const MAX_POINTERS: usize = 127;

/// Why a message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The message ends in the middle of a record, or before all records that its header counts.
    #[error("the message is cut")]
    Cut,
    /// The message breaks a rule.
    #[error("{0}")]
    Malformed(&'static str),
}

/// A message, or a part of one, and how far it was read.
#[derive(Clone, Debug)]
pub(super) struct MessageReader<'a> {
    message: &'a [u8],
    at: usize,
    /// Where the part ends.
    end: usize,
}

impl<'a> MessageReader<'a> {
    /// A reader of a whole message, which begins behind the header.
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { message, at: HEADER.min(message.len()), end: message.len() }
    }

    /// The next octets.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let octets = self.message[..self.end].get(self.at..).unwrap_or_default();
        let octets = octets.get(..count).ok_or(ReadError::Cut)?;
        self.at += count;
        Ok(octets)
    }

    /// All octets that are left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = self.message[..self.end].get(self.at..).unwrap_or_default();
        self.at = self.end;
        rest
    }

    /// The next octets as a part of the message, in which pointers may lead to what stands before.
    pub(super) fn part(&mut self, count: usize) -> Result<Self, ReadError> {
        let at = self.at;
        self.take(count)?;
        Ok(Self { message: self.message, at, end: self.at })
    }

    pub(super) fn u16(&mut self) -> Result<u16, ReadError> {
        let octets = self.take(2)?;
        Ok(u16::from_be_bytes([octets[0], octets[1]]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, ReadError> {
        let octets = self.take(4)?;
        Ok(u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]))
    }

    /// Reads a name, and appends it without compression, in its letter case.
    pub(super) fn name(&mut self, name: &mut Vec<u8>) -> Result<(), ReadError> {
        let begun = name.len();
        let (mut at, mut end) = (self.at, self.end);
        // Where the labels that are being read begin: a pointer leads to what stands before them, so each name ends.
        let mut part = at;
        let mut behind = None;
        let mut pointers = 0;
        loop {
            let octets = self.message[..end].get(at..).unwrap_or_default();
            let (&len, labels) = octets.split_first().ok_or(ReadError::Cut)?;
            match usize::from(len) {
                0 => break,
                len @ 1..=MAX_LABEL_OCTETS => {
                    labels.get(..len).ok_or(ReadError::Cut)?;
                    name.extend_from_slice(&octets[..=len]);
                    at += 1 + len;
                    if name.len() - begun >= MAX_NAME_OCTETS {
                        return Err(ReadError::Malformed("a name has more than 255 octets"));
                    }
                }
                high @ 0xc0.. => {
                    let low = usize::from(*labels.first().ok_or(ReadError::Cut)?);
                    let target = (high & 0x3f) << 8 | low;
                    behind.get_or_insert(at + 2);
                    pointers += 1;
                    if !(HEADER..part).contains(&target) || pointers > MAX_POINTERS {
                        return Err(ReadError::Malformed("a compression pointer leads nowhere"));
                    }
                    (at, part, end) = (target, target, self.message.len());
                }
                _ => return Err(ReadError::Malformed("a label has an unknown type")),
            }
        }
        name.push(0);
        self.at = behind.unwrap_or(at + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the name at an offset of a message whose header is followed by these octets.
    fn name(octets: &[u8], at: usize) -> Result<(Vec<u8>, usize), ReadError> {
        let message = [&[0; HEADER], octets].concat();
        let mut reader = MessageReader::new(&message);
        reader.take(at)?;
        let mut name = Vec::new();
        reader.name(&mut name).map(|()| (name, reader.at - HEADER))
    }

    #[test]
    fn names_are_written_out() {
        let octets = b"\x01a\x02Bc\0\x01x\xc0\x0e\xc0\x12\xc0\x0e";
        for (at, read, end) in [
            (0, &b"\x01a\x02Bc\0"[..], 6),
            (4 + 2, b"\x01x\x02Bc\0", 10),
            (10, b"\x01x\x02Bc\0", 12),
            (12, b"\x02Bc\0", 14),
            (5, b"\0", 6),
        ] {
            assert_eq!(name(octets, at), Ok((read.to_vec(), end)), "at {at}");
        }
    }

    #[test]
    fn a_name_that_is_none_is_an_error() {
        let malformed = |octets: &[u8], at| matches!(name(octets, at), Err(ReadError::Malformed(_)));
        assert!(malformed(b"\xc0\x0c", 0), "a pointer to itself");
        assert!(malformed(b"\xc0\x0e\0\0", 0), "forward");
        assert!(malformed(b"\x01a\xc0\x0c", 0), "to the beginning of the same name");
        assert!(malformed(b"\xc0\x00", 0), "into the header");
        assert!(malformed(b"\x40a\0", 0) && malformed(b"\x80a\0", 0), "other types of labels");
        for cut in [&b""[..], b"\x01", b"\x01a", b"\x02a\0", b"\xc0", b"\x01a\xc0"] {
            assert_eq!(name(cut, 0), Err(ReadError::Cut), "{cut:?}");
        }
    }

    #[test]
    fn names_are_as_long_as_names_may_be() {
        let long = |last: usize| {
            let labels = [63, 63, 63, last]
                .map(|len| [vec![u8::try_from(len).expect("len")], vec![b'x'; len]].concat());
            [labels.concat(), vec![0]].concat()
        };
        assert_eq!(name(&long(61), 0).map(|(name, _)| name.len()), Ok(255));
        assert_eq!(name(&long(62), 0), Err(ReadError::Malformed("a name has more than 255 octets")));
    }

    #[test]
    fn pointers_to_pointers_come_to_an_end() {
        // A root, then pointers each of which leads to the one before.
        let mut octets = vec![0];
        for n in 0..200 {
            let target = u16::try_from(HEADER + if n == 0 { 0 } else { 2 * n - 1 }).expect("small");
            octets.extend((0xc000 | target).to_be_bytes());
        }
        assert_eq!(name(&octets, 1 + 2 * 126).map(|(name, _)| name), Ok(vec![0]));
        assert!(name(&octets, 1 + 2 * 127).is_err());
    }

    #[test]
    fn a_part_ends_where_it_ends() {
        let message = [&[0; HEADER], &b"\x01a\0\x01b\x01c\0"[..]].concat();
        let mut reader = MessageReader::new(&message);
        reader.take(3).expect("a name");
        let mut part = reader.part(2).expect("half a name");
        assert_eq!(part.name(&mut Vec::new()), Err(ReadError::Cut));
        assert_eq!((part.clone().rest(), reader.rest()), (&b"\x01b"[..], &b"\x01c\0"[..]));
        assert_eq!(reader.u16(), Err(ReadError::Cut));
    }
}
