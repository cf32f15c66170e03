//! The OPT record of a query (RFC 6891 §6.1).
//!
//! A query's records are walked over by their lengths alone: what is in them, options included, is not needed to answer. So
//! an option that is not known, or has not the form that its own RFC gives it, changes nothing (RFC 6891 §6.1.2).

use super::HEADER;
use super::request::STUB_MARKER;

/// The type of an OPT record.
const OPT: u16 = 41;

/// The flag DO, and the flag "compact answers OK" behind it (RFC 9824 §5.1).
const DNSSEC_OK: u16 = 0x8000;
const COMPACT_OK: u16 = 0x4000;

/// What a client's OPT record said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientEdns {
    /// Its UDP payload size, at least 512.
    pub udp_size: u16,
    /// DNSSEC OK.
    pub dnssec_ok: bool,
    /// Compact answers OK (RFC 9824 §5.1).
    pub compact_ok: bool,
    /// Whether SkyDNS's loop marker for stub zones is there.
    pub stub_marker: bool,
}

/// The OPT record that a query has in its additional section, and the form of the query's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueryRecords {
    /// The first OPT record, as soon as its fixed part is there.
    pub(super) opt: Option<QueryOpt>,
    /// Whether the query has the form that it may have: its records are whole, and an OPT record is alone, in the additional
    /// section, and at the root.
    pub(super) are_well_formed: bool,
}

/// An OPT record of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueryOpt {
    pub(super) edns: ClientEdns,
    /// The version of EDNS; its options are those of a client only if we implement it.
    pub(super) version: u8,
    /// Whether the options fill the record exactly.
    pub(super) has_whole_options: bool,
}

impl QueryRecords {
    /// Walks over the questions and records of a query.
    pub(super) fn read(packet: &[u8]) -> Self {
        let mut walk = Walk { rest: packet.get(HEADER..).unwrap_or_default(), opt: None };
        let are_well_formed = walk.sections(packet).is_some();
        Self { opt: walk.opt, are_well_formed }
    }
}

/// The octets of a query that are still to be walked over, and what was found before.
struct Walk<'a> {
    rest: &'a [u8],
    opt: Option<QueryOpt>,
}

impl<'a> Walk<'a> {
    /// All sections; `None` if something is wrong with them.
    fn sections(&mut self, packet: &[u8]) -> Option<()> {
        let counts = packet.get(4..HEADER)?;
        let [questions, answers, authorities, additionals] =
            [0, 2, 4, 6].map(|at| u16::from_be_bytes([counts[at], counts[at + 1]]));
        for _ in 0..questions {
            self.name()?;
            self.take(4)?;
        }
        for section in [answers, authorities] {
            for _ in 0..section {
                self.record(false)?;
            }
        }
        for _ in 0..additionals {
            self.record(true)?;
        }
        Some(())
    }

    /// One record.
    fn record(&mut self, is_additional: bool) -> Option<()> {
        let is_root = self.name()?;
        let [type_high, type_low, size @ .., len_high, len_low] = *self.take(10)?.first_chunk::<10>()?;
        if u16::from_be_bytes([type_high, type_low]) == OPT {
            let is_first = self.opt.is_none();
            if is_first {
                self.opt = Some(QueryOpt::of(size));
            }
            let options = self.take(usize::from(u16::from_be_bytes([len_high, len_low])))?;
            if let Some(opt) = self.opt.as_mut().filter(|_| is_first && is_additional && is_root) {
                opt.read_options(options);
                return Some(());
            }
            return None;
        }
        self.take(usize::from(u16::from_be_bytes([len_high, len_low]))).map(drop)
    }

    /// One name, whose pointers are not followed; returns whether it is the root.
    fn name(&mut self) -> Option<bool> {
        let is_root = self.rest.first() == Some(&0);
        loop {
            match *self.take(1)?.first()? {
                0 => return Some(is_root),
                len @ 1..=63 => self.take(usize::from(len)).map(drop)?,
                0xc0.. => return self.take(1).map(|_| false),
                _ => return None,
            }
        }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }
}

impl QueryOpt {
    /// An OPT record by its fixed part: the UDP size, the extended rcode, the version, the flags.
    fn of([size_high, size_low, _, version, flags_high, flags_low]: [u8; 6]) -> Self {
        let flags = u16::from_be_bytes([flags_high, flags_low]);
        let edns = ClientEdns {
            udp_size: u16::from_be_bytes([size_high, size_low]).max(512),
            dnssec_ok: flags & DNSSEC_OK != 0,
            compact_ok: flags & COMPACT_OK != 0,
            stub_marker: false,
        };
        Self { edns, version, has_whole_options: false }
    }

    /// Looks at the options: code, length and data of each.
    fn read_options(&mut self, mut options: &[u8]) {
        while let Some(([code_high, code_low, len_high, len_low], rest)) = options.split_first_chunk() {
            let len = usize::from(u16::from_be_bytes([*len_high, *len_low]));
            let Some((data, rest)) = rest.split_at_checked(len) else { return };
            self.edns.stub_marker |= (u16::from_be_bytes([*code_high, *code_low]), data) == STUB_MARKER;
            options = rest;
        }
        self.has_whole_options = options.is_empty();
    }
}
