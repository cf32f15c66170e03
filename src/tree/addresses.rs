//! The keys of services by their address, for names of addresses (PTR): an ordered list in pages that versions of the tree share.
//!
//! A record is an address and the wire format of a key, some 35 octets for IPv4. A change copies one page, and the way to it.

use crate::service::{Host, Key};
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Octets of a page before it is halved: a change copies it.
const MAX_PAGE: usize = 2_048;

/// Pages of a directory before it is halved.
const MAX_PAGES: usize = 64;

/// What is called with an address and the wire format of a key.
type Visit<'f, A> = dyn FnMut(A, &[u8]) -> ControlFlow<()> + 'f;

/// The keys of all services that have an address.
#[derive(Clone, Debug, Default)]
pub(super) struct AddressIndex {
    v4: Pages<4>,
    v6: Pages<16>,
}

impl AddressIndex {
    /// Adds a key at an address.
    pub(super) fn insert(&mut self, address: IpAddr, key: &Key) {
        match address {
            IpAddr::V4(v4) => self.v4.insert(v4.octets(), key.as_wire()),
            IpAddr::V6(v6) => self.v6.insert(v6.octets(), key.as_wire()),
        }
    }

    /// Takes a key off an address.
    pub(super) fn remove(&mut self, address: IpAddr, key: &Key) {
        match address {
            IpAddr::V4(v4) => self.v4.remove(v4.octets(), key.as_wire()),
            IpAddr::V6(v6) => self.v6.remove(v6.octets(), key.as_wire()),
        }
    }

    /// Calls `each` for the keys at IPv4 addresses of a range, ordered by address and key, until it breaks.
    pub(super) fn for_each_v4(
        &self,
        (first, last): (Ipv4Addr, Ipv4Addr),
        each: &mut Visit<'_, IpAddr>,
    ) -> ControlFlow<()> {
        self.v4.for_each(first.octets(), last.octets(), &mut |octets, key| each(IpAddr::from(octets), key))
    }

    /// The same for IPv6.
    pub(super) fn for_each_v6(
        &self,
        (first, last): (Ipv6Addr, Ipv6Addr),
        each: &mut Visit<'_, IpAddr>,
    ) -> ControlFlow<()> {
        self.v6.for_each(first.octets(), last.octets(), &mut |octets, key| each(IpAddr::from(octets), key))
    }
}

/// The address of a host, if it is one.
pub(super) fn address_of(host: &Host) -> Option<IpAddr> {
    match host {
        Host::V4(v4) => Some(IpAddr::V4(*v4)),
        Host::V6(v6) => Some(IpAddr::V6(*v6)),
        Host::Name(_) | Host::None => None,
    }
}

/// Records in order, in pages, in directories of pages; none of these is empty. `N` is the number of octets of an address.
#[derive(Clone, Debug, Default)]
struct Pages<const N: usize> {
    directories: Vec<Directory>,
}

/// Pages that follow each other.
type Directory = Arc<Vec<Page>>;

/// Records behind each other: the address, the number of octets of the key, the key.
type Page = Arc<[u8]>;

impl<const N: usize> Pages<N> {
    fn insert(&mut self, address: [u8; N], key: &[u8]) {
        let Some(at) = self.directory_of(&address, key) else {
            self.directories.push(Arc::new(vec![with_record(&[], 0, &address, key).into()]));
            return;
        };
        let directory = Arc::make_mut(&mut self.directories[at]);
        let page_at = page_of::<N>(directory, &address, key);
        let page = &directory[page_at];
        let (start, is_there) = position::<N>(page, &address, key);
        if is_there {
            return;
        }
        let page = with_record(page, start, &address, key);
        match half::<N>(&page) {
            Some(middle) => {
                directory[page_at] = page[..middle].into();
                directory.insert(page_at + 1, page[middle..].into());
            }
            None => directory[page_at] = page.into(),
        }
        if directory.len() > MAX_PAGES {
            let upper = directory.split_off(MAX_PAGES / 2);
            self.directories.insert(at + 1, Arc::new(upper));
        }
    }

    fn remove(&mut self, address: [u8; N], key: &[u8]) {
        let Some(at) = self.directory_of(&address, key) else { return };
        let page_at = page_of::<N>(&self.directories[at], &address, key);
        let page = &self.directories[at][page_at];
        let (start, true) = position::<N>(page, &address, key) else { return };
        let rest = [&page[..start], &page[start + record_len::<N>(key)..]].concat();
        let directory = Arc::make_mut(&mut self.directories[at]);
        if rest.is_empty() {
            directory.remove(page_at);
        } else {
            directory[page_at] = rest.into();
            merge_pages(directory, page_at);
        }
        if directory.is_empty() {
            self.directories.remove(at);
        } else {
            self.merge_directories(at);
        }
    }

    /// Joins a directory that has become short with the one behind it.
    fn merge_directories(&mut self, at: usize) {
        let Some(next) = self.directories.get(at + 1) else { return };
        if self.directories[at].len() + next.len() <= MAX_PAGES / 2 {
            let next = self.directories.remove(at + 1);
            Arc::make_mut(&mut self.directories[at]).extend(next.iter().cloned());
        }
    }

    /// The directory in which a record is or belongs; `None` if there is none at all.
    fn directory_of(&self, address: &[u8; N], key: &[u8]) -> Option<usize> {
        let is_at_or_before = |directory: &Directory| {
            let first = directory.first().and_then(|page| Record::first::<N>(page));
            first.is_some_and(|first| first.cmp(address, key) != Ordering::Greater)
        };
        let after = self.directories.partition_point(is_at_or_before);
        (!self.directories.is_empty()).then(|| after.saturating_sub(1))
    }

    /// Calls `each` for the records whose addresses are in a range, ends included.
    fn for_each(&self, first: [u8; N], last: [u8; N], each: &mut Visit<'_, [u8; N]>) -> ControlFlow<()> {
        let Some(start) = self.directory_of(&first, &[]) else { return ControlFlow::Continue(()) };
        for (at, directory) in self.directories[start..].iter().enumerate() {
            let page = if at == 0 { page_of::<N>(directory, &first, &[]) } else { 0 };
            for page in &directory[page..] {
                let mut rest: &[u8] = page;
                while let Some(record) = Record::first::<N>(rest) {
                    rest = &rest[record_len::<N>(record.key)..];
                    if record.address > &last[..] {
                        return ControlFlow::Continue(());
                    }
                    if record.address >= &first[..]
                        && let Ok(address) = record.address.try_into()
                    {
                        each(address, record.key)?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// A record of a page.
struct Record<'p> {
    address: &'p [u8],
    key: &'p [u8],
}

impl<'p> Record<'p> {
    /// The record that octets begin with.
    fn first<const N: usize>(octets: &'p [u8]) -> Option<Self> {
        let (address, rest) = octets.split_at_checked(N)?;
        let (len, rest) = rest.split_first()?;
        Some(Self { address, key: rest.get(..usize::from(*len))? })
    }

    /// The order of the record and another one: by address, then by key, label by label.
    fn cmp(&self, address: &[u8], key: &[u8]) -> Ordering {
        let labels = crate::wire_name::labels;
        self.address.cmp(address).then_with(|| labels(self.key).cmp(labels(key)))
    }
}

/// Octets of a record.
fn record_len<const N: usize>(key: &[u8]) -> usize {
    N + 1 + key.len()
}

/// A page with one more record, which begins at an offset.
fn with_record<const N: usize>(page: &[u8], start: usize, address: &[u8; N], key: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(page.len() + record_len::<N>(key));
    octets.extend_from_slice(&page[..start]);
    octets.extend_from_slice(address);
    // The wire format of a name has at most 255 octets.
    octets.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
    octets.extend_from_slice(key);
    octets.extend_from_slice(&page[start..]);
    octets
}

/// The page in which a record is or belongs.
fn page_of<const N: usize>(directory: &[Page], address: &[u8; N], key: &[u8]) -> usize {
    let is_at_or_before = |page: &Page| {
        let first = Record::first::<N>(page);
        first.is_some_and(|first| first.cmp(address, key) != Ordering::Greater)
    };
    directory.partition_point(is_at_or_before).saturating_sub(1)
}

/// The offset of a record in a page, or the one where it belongs; and whether it is there.
fn position<const N: usize>(page: &[u8], address: &[u8; N], key: &[u8]) -> (usize, bool) {
    let mut start = 0;
    while let Some(record) = Record::first::<N>(&page[start..]) {
        match record.cmp(address, key) {
            Ordering::Less => start += record_len::<N>(record.key),
            order => return (start, order == Ordering::Equal),
        }
    }
    (start, false)
}

/// Where a page that has become too long is halved.
fn half<const N: usize>(page: &[u8]) -> Option<usize> {
    if page.len() <= MAX_PAGE {
        return None;
    }
    let mut start = 0;
    while let Some(record) = Record::first::<N>(&page[start..])
        && start < page.len() / 2
    {
        start += record_len::<N>(record.key);
    }
    Some(start)
}

/// Joins a page that has become short with the one behind it.
fn merge_pages(directory: &mut Vec<Page>, at: usize) {
    if let Some(next) = directory.get(at + 1)
        && directory[at].len() + next.len() <= MAX_PAGE / 2
    {
        directory[at] = [&directory[at][..], next].concat().into();
        directory.remove(at + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::Name;
    use std::collections::BTreeSet;

    #[test]
    fn a_service_takes_no_more_than_sixty_octets() {
        // A page is a pointer with its length, and two counters before the records.
        const OF_PAGE: usize = 32;
        fn octets<const N: usize>(pages: &Pages<N>) -> usize {
            let of_directory = |directory: &Directory| {
                OF_PAGE + directory.iter().map(|page| OF_PAGE + page.len()).sum::<usize>()
            };
            pages.directories.iter().map(of_directory).sum()
        }
        const SERVICES: u32 = 20_000;
        let mut index = AddressIndex::default();
        for n in 0..SERVICES {
            // As a site has them: the order of the addresses is not that of the names.
            let number = n.wrapping_mul(2_654_435_761);
            let key = format!("s{n}.rails.east.skydns.local.");
            let key = Key::from_name(&Name::from_ascii(key).expect("a name"));
            index.insert(Ipv4Addr::from_bits(number).into(), &key);
            index.insert(Ipv6Addr::from_bits(u128::from(number)).into(), &key);
        }
        let of_service = [octets(&index.v4), octets(&index.v6)].map(|all| all / SERVICES as usize);
        assert!(of_service.iter().all(|octets| *octets <= 60), "{of_service:?}");
    }

    #[test]
    fn it_has_what_a_plain_set_has() {
        let (mut index, mut plain) = (AddressIndex::default(), BTreeSet::new());
        let mut number = 1_u64;
        let mut random = |below: u64| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) % below
        };
        let mut earlier = Vec::new();
        for round in 0..40_000 {
            let (host, name) = (u32::try_from(random(3_000)).expect("small"), random(4));
            let key =
                Key::from_name(&Name::from_ascii(format!("s{name}.rails.skydns.local.")).expect("a name"));
            let address = match random(2) {
                0 => IpAddr::from(Ipv4Addr::from_bits(host)),
                _ => IpAddr::from(Ipv6Addr::from_bits(u128::from(host) << 64)),
            };
            // It grows, and then it shrinks again.
            if random(40_000) > round {
                index.insert(address, &key);
                plain.insert((address, key));
            } else {
                index.remove(address, &key);
                plain.remove(&(address, key));
            }
            if round % 8_000 == 0 {
                earlier.push((index.clone(), plain.clone()));
            }
        }
        earlier.push((index, plain));
        let all = |index: &AddressIndex| {
            let mut found = Vec::new();
            let mut add = |address, key: &[u8]| {
                found.push((address, Key::from_wire(key).expect("a key")));
                ControlFlow::Continue(())
            };
            let _ = index.for_each_v4((Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST), &mut add);
            let _ = index.for_each_v6((Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX)), &mut add);
            found
        };
        for (index, plain) in &earlier {
            assert_eq!(all(index), plain.iter().cloned().collect::<Vec<_>>());
        }
        let (index, plain) = &earlier[2];
        let range = (Ipv4Addr::from_bits(700), Ipv4Addr::from_bits(800));
        let mut count = 0;
        let _ = index.for_each_v4(range, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        });
        let in_range = |(address, _): &&(IpAddr, Key)| {
            *address >= IpAddr::from(range.0) && *address <= IpAddr::from(range.1)
        };
        assert!(count > 20 && count == plain.iter().filter(in_range).count());
    }
}
