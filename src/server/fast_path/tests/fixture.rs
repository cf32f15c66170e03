//! A small site, asked on the fast path or on the full path.

use super::super::super::handler::Handled;
use super::super::super::origin::{Origin, Way};
use super::super::*;
use crate::answer::{Freshness, Mode, Zone, Zones};
use crate::config::{HostIdentity, Spec};
use crate::dnssec::{Algorithm, DenialKind, KeyFiles, KeySet, NewKey, SignatureCache, Signer, Signers};
use crate::forward::Forwarder;
use crate::heartbeat::Heartbeats;
use crate::server::CostlyThreads;
use crate::service::{Key, Service};
use crate::tree::{Entry, Layer, Lease, Tree};
use crate::wire::{Reply, Screened, screen};
use arc_swap::ArcSwap;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, rdata};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A client on this host.
pub(super) const CLIENT: Origin = Origin {
    peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5353),
    ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
    way: Way::Loopback,
};

pub(super) fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// A handler, and the states that the test changes.
pub(super) struct SiteFixture {
    pub(super) handler: Arc<Handler>,
    _costly: CostlyThreads,
    pub(super) tree: Tree,
    pub(super) published: Arc<ArcSwap<Published>>,
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) fast: FastPath,
    pub(super) now: u64,
    denial: Option<DenialKind>,
    /// The serial of changes: two published states have the same.
    second: u32,
    published_states: u32,
    /// Questions that were answered on the fast path.
    pub(super) quick: usize,
}

impl SiteFixture {
    pub(super) fn new(denial: Option<DenialKind>, round_robin: bool) -> Self {
        let local = Some("a.east.skydns.local".to_owned());
        let spec = Spec { round_robin, stub_zones: true, local, ..Spec::default() };
        let mut config = Config::new(&spec, &HostIdentity::default()).expect("a configuration");
        if let Some(denial) = denial {
            Arc::make_mut(&mut config.site).zones.first_mut().is_signed = true;
            config.signers = Arc::new(Signers::new(vec![Some(signer(denial))], denial));
        }
        let forwarder = Forwarder::new(config.forward.clone());
        let published =
            Arc::new(ArcSwap::from_pointee(Published { tree: Tree::tracked(), ..Published::default() }));
        let config = Arc::new(ArcSwap::from_pointee(config));
        let handler = Handler::new(Arc::clone(&published), Arc::clone(&config), forwarder, Arc::default());
        let handler = Arc::new(handler);
        let costly = handler.start_costly_threads(&Heartbeats::default()).expect("threads");
        let fast = FastPath::new(&handler, 1 << 24);
        let (tree, now) = (published.load().tree.clone(), crate::clock::unix_time());
        let (second, published_states) = (1, 0);
        Self {
            handler,
            _costly: costly,
            tree,
            published,
            config,
            fast,
            now,
            denial,
            second,
            published_states,
            quick: 0,
        }
    }

    /// Adds zones to the signed one: one below it, and a reverse one.
    pub(super) fn with_zones(mut self, modes: [Mode; 2]) -> Self {
        self.config.rcu(|config| {
            let mut config = Config::clone(config);
            let site = Arc::make_mut(&mut config.site);
            let mut first = site.zones.first().clone();
            let others = ["east.skydns.local.", "10.in-addr.arpa."].map(|apex| Zone::new(&name(apex)));
            let [mut below, mut reverse] = others;
            (first.mode, below.mode) = modes.into();
            (first.auto_ptr, below.auto_ptr, below.falls_through) = (true, true, true);
            reverse.ttl = 77;
            site.zones = Zones::new(first, [below, reverse]);
            if let Some(denial) = self.denial {
                config.signers = Arc::new(Signers::new(vec![Some(signer(denial)), None, None], denial));
            }
            config
        });
        let site = Arc::clone(&self.config.load().site);
        self.tree.set_zones(&site.zones.iter().map(Zone::apex));
        self.tree.index_addresses(true);
        self
    }

    /// The same site without stub zones, so that there are direct answers.
    pub(super) fn without_stub_zones(self) -> Self {
        self.config.rcu(|config| {
            let mut config = Config::clone(config);
            config.forward.stub_zones = false;
            config
        });
        self
    }

    pub(super) fn put(&mut self, at: &str, value: &str, lease: Option<Arc<Lease>>) {
        let service = Service::from_json(value.as_bytes()).expect(value);
        let entry = Entry { lease, ..Entry::new(service) };
        let key = Key::from_name(&name(at));
        self.tree.put(&key, Layer(0), entry);
        self.tree.set_serial_of(&key, self.second);
    }

    pub(super) fn publish(&mut self, freshness: Freshness) {
        self.second += self.published_states % 2;
        self.published_states += 1;
        let state =
            Published { tree: self.tree.clone(), freshness: freshness.into(), ..Published::default() };
        self.published.store(Arc::new(state));
    }

    /// Has the forwarder know the reply to a question, if it is one that is forwarded.
    pub(super) fn remember(&self, packet: &[u8]) {
        let Screened::Ask(request) = screen(packet) else { return };
        let outside = name("example.org.").zone_of(request.query.name());
        if outside && self.handler.forwarder.cached(&request, None).is_none() {
            let mut reply = Reply::empty(ResponseCode::NoError);
            for n in 1..4u8 {
                let name = name(&format!("{}.example.org.", "x".repeat(n.into())));
                let data = match request.query.query_type() {
                    RecordType::A | RecordType::ANY => RData::A(rdata::A([192, 0, 2, n].into())),
                    RecordType::AAAA => {
                        RData::AAAA(rdata::AAAA([0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()].into()))
                    }
                    RecordType::NS => RData::NS(rdata::NS(name)),
                    RecordType::MX => RData::MX(rdata::MX::new(10, name)),
                    RecordType::SRV => RData::SRV(rdata::SRV::new(1, 2, 3, name)),
                    RecordType::TXT => RData::TXT(rdata::TXT::new(vec!["x".repeat(n.into())])),
                    _ => return,
                };
                reply.answers.push(Record::from_rdata(request.query.name().clone(), 500, data));
            }
            self.handler.forwarder.remember(&request, &reply);
        }
    }

    pub(super) fn full(&self, packet: &[u8]) -> Option<Message> {
        match self.handler.handle(packet, &CLIENT) {
            Handled::Reply(reply, _) => Some(Message::from_vec(&reply).expect("a reply")),
            Handled::Drop | Handled::Pending(_) => None,
        }
    }

    /// The reply as a worker gives it.
    pub(super) fn ask(&mut self, packet: &[u8]) -> Option<Message> {
        let mut buffer = [packet, &[0xaa; 5_000]].concat();
        // The full path reads the clock, and no reply is sent again at a time before it was made.
        self.now = self.now.max(crate::clock::unix_time());
        self.fast.begin(&self.handler, self.now);
        if let Some(len) = self.fast.answer(&mut buffer, packet.len(), &CLIENT) {
            self.quick += 1;
            return Some(Message::from_vec(&buffer[..len]).expect("a reply"));
        }
        match self.handler.handle(packet, &CLIENT) {
            Handled::Reply(reply, hint) => {
                if let Some(hint) = hint {
                    self.fast.offer(packet, &reply, hint);
                }
                Some(Message::from_vec(&reply).expect("a reply"))
            }
            Handled::Drop | Handled::Pending(_) => None,
        }
    }
}

fn signer(denial: DenialKind) -> Arc<Signer> {
    let zone = name("skydns.local.");
    let new = NewKey::generate(&zone, Algorithm::Ed25519, 257, 0).expect("a key");
    let (public, private) = (new.public.as_bytes(), new.private.as_bytes());
    let key = KeyFiles { base: &new.base, public, private }.read(&zone).expect("a key");
    let cache = Arc::new(SignatureCache::new(10_000));
    Arc::new(Signer::new(zone, KeySet::new(vec![key]), denial, cache, crate::clock::unix_time()))
}

pub(super) fn packet(
    asked: &str,
    rtype: RecordType,
    class: DNSClass,
    id: u16,
    edns: Option<(u16, bool)>,
) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = id.is_multiple_of(2);
    message.metadata.checking_disabled = id.is_multiple_of(5);
    let mut query = Query::query(name(asked), rtype);
    query.set_query_class(class);
    message.add_query(query);
    if let Some((size, dnssec_ok)) = edns {
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(size).set_dnssec_ok(dnssec_ok);
        message.set_edns(edns);
    }
    message.to_vec().expect("a query")
}
