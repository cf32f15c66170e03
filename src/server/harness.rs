//! A worker without sockets: the fast and the full path side by side for the fuzzer, and the fast path alone for benches.

use super::datagrams::BATCH;
use super::fast_path::{FastPath, Queries};
use super::handler::{Handled, Handler};
use super::origin::{Origin, Way};
use crate::clock::unix_time;
use crate::config::{Config, HostIdentity, Spec};
use crate::forward::Forwarder;
use crate::service::{Key, KeyTarget, Keyspace, Service};
use crate::source::Published;
use crate::tree::{Entry, Layer, Tree};
use arc_swap::ArcSwap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// A small site, and one worker's fast path.
#[derive(Debug)]
pub struct BothPaths {
    handler: Handler,
    fast: FastPath,
}

/// The fast path of one worker.
#[derive(Debug)]
pub struct OneWorker {
    handler: Handler,
    fast: FastPath,
}

/// A buffer with a query, over which its reply is written.
#[derive(Debug)]
pub struct Packet {
    /// The buffer.
    pub octets: Vec<u8>,
    /// How many octets of it are the query, and then the reply; 0 if the fast path has none.
    pub len: usize,
}

/// The packets of a batch, all of one client.
struct Packets<'p>(&'p mut [Packet], Origin);

impl Queries for Packets<'_> {
    fn client(&self, _: usize) -> Origin {
        self.1
    }

    fn query(&mut self, number: usize) -> (&mut [u8], usize) {
        let packet = &mut self.0[number];
        (&mut packet.octets, packet.len)
    }

    fn answered(&mut self, number: usize, len: Option<usize>) {
        self.0[number].len = len.unwrap_or(0);
    }
}

impl OneWorker {
    /// A worker of a site with SkyDNS's settings, and these services.
    ///
    /// # Panics
    /// The settings of SkyDNS are not accepted.
    pub fn new(services: impl IntoIterator<Item = (Key, Service)>) -> Self {
        let config = Config::new(&Spec::default(), &HostIdentity::default()).expect("a configuration");
        let mut tree = Tree::tracked();
        for (key, service) in services {
            tree.put(&key, Layer(1), Entry::new(service));
        }
        let handler = handler(config, tree);
        Self { fast: FastPath::new(&handler, 1 << 24), handler }
    }

    /// Answers queries of this host, 32 at a time.
    pub fn answer(&mut self, packets: &mut [Packet]) {
        let client = Origin::of_datagram((Ipv4Addr::LOCALHOST, 5353).into(), Way::Loopback, true);
        for packets in packets.chunks_mut(BATCH) {
            let count = packets.len();
            self.fast.answer_batch(&self.handler, &mut Packets(packets, client), count);
        }
    }
}

/// A handler that forwards nowhere.
fn handler(config: Config, tree: Tree) -> Handler {
    let forwarder = Forwarder::new(config.forward.clone());
    let published = Arc::new(ArcSwap::from_pointee(Published { tree, ..Published::default() }));
    Handler::new(published, Arc::new(ArcSwap::from_pointee(config)), forwarder, Arc::default())
}

impl Default for BothPaths {
    fn default() -> Self {
        Self::new()
    }
}

impl BothPaths {
    /// A site whose answers stand in the same order each time.
    pub fn new() -> Self {
        let spec = Spec { round_robin: false, ..Spec::default() };
        let config = Config::new(&spec, &HostIdentity::default()).expect("a configuration");
        let mut tree = Tree::tracked();
        for (key, value) in [
            ("/skydns/local/skydns/a/1", r#"{"host":"10.0.0.1","port":1}"#),
            ("/skydns/local/skydns/a/2", r#"{"host":"10.0.0.2","text":"x","mail":true}"#),
            ("/skydns/local/skydns/b", r#"{"host":"1.a.skydns.local","group":"g"}"#),
            ("/skydns/local/skydns/_c/d", r#"{"host":"2001:db8::1"}"#),
            ("/skydns/arpa/in-addr/10/0/0/1", r#"{"host":"rev.skydns.local"}"#),
        ] {
            let Ok(KeyTarget::Service { key, .. }) = Keyspace::new("skydns").target_of(key.as_bytes()) else {
                continue;
            };
            let service = Service::from_json(value.as_bytes()).expect("a service");
            tree.put(&key, Layer(0), Entry::new(service));
        }
        let handler = handler(config, tree);
        Self { fast: FastPath::new(&handler, 1 << 20), handler }
    }

    /// Answers a packet on the full path until it is cached, then on the fast path, and says whether that one did.
    ///
    /// # Panics
    /// The two say different things.
    pub fn compare(&mut self, packet: &[u8]) -> bool {
        let client = Origin::of_datagram((Ipv4Addr::LOCALHOST, 5353).into(), Way::Loopback, true);
        self.fast.begin(&self.handler, unix_time());
        let (mut full, mut fast) = (None, false);
        for _ in 0..3 {
            let mut buffer = [packet, &[0xaa; 5_000]].concat();
            let Handled::Reply(reply, hint) = self.handler.handle(packet, &client) else {
                return fast;
            };
            if let Some(len) = self.fast.answer(&mut buffer, packet.len(), &client) {
                assert_eq!(buffer[..len], reply, "fast and full path");
                fast = true;
            }
            if let Some(hint) = hint {
                self.fast.offer(packet, &reply, hint);
            }
            assert_eq!(*full.get_or_insert_with(|| reply.clone()), reply, "the same each time");
        }
        fast
    }
}

#[cfg(test)]
mod tests {
    use super::BothPaths;

    /// Keeps what only the fuzzer calls compiling, and working, with everything else.
    #[test]
    fn both_paths_answer_a_question_of_the_site() {
        let question = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x01a\x06skydns\x05local\0\0\x01\0\x01";
        assert!(BothPaths::new().compare(question), "the fast path answers it once it is cached");
    }
}
