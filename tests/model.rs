//! Random trees and random questions: the answer equals that of a slow model written from PARITY's
//! rules on plain lists of strings.

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use proptest::prelude::*;
use skydns::answer::{
    Answer, Dependencies, ExternalReply, Externals, Flatten, Lookup, Made, Mode, Outcome, Site,
    SiteFreshness, View, Zone, Zones, answer,
};
use skydns::service::{Key, Service};
use skydns::tree::{Entry, Layer, Tree, Work};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

/// A service as the model sees it.
#[derive(Clone, Debug)]
struct Plain {
    /// Labels, root first.
    key: Vec<String>,
    host: String,
    port: u16,
    priority: u16,
    weight: u64,
    ttl: u32,
    text: String,
    group: String,
    strip: usize,
    mail: bool,
}

const MIN_TTL: u32 = 30;
const DOMAIN: &str = "x.test";

fn name(text: &str) -> Name {
    Name::from_labels(text.trim_end_matches('.').split('.').map(str::as_bytes))
        .map(|mut name| {
            name.set_fqdn(true);
            name
        })
        .expect("a name")
}

/// What an upstream knows.
fn upstream(lookup: &str, rtype: RecordType) -> Option<Vec<String>> {
    match (lookup, rtype) {
        ("www.ext.test", RecordType::A) => {
            Some(vec!["www.ext.test. 70 CNAME w.ext.test.".into(), "w.ext.test. 50 A 192.0.2.9".into()])
        }
        ("www.ext.test", RecordType::AAAA) => {
            Some(vec!["www.ext.test. 70 CNAME w.ext.test.".into(), "w.ext.test. 50 AAAA 2001:db8::9".into()])
        }
        ("four.ext.test", RecordType::A) => Some(vec!["four.ext.test. 9 A 192.0.2.4".into()]),
        ("www.ext.test", _) => Some(vec!["www.ext.test. 70 CNAME w.ext.test.".into()]),
        ("four.ext.test", _) => Some(vec![]),
        _ => None,
    }
}

// --- the model ---------------------------------------------------------------------------------

/// A zone as the model sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PlainZone {
    /// Labels, root first.
    apex: Vec<String>,
    is_exact: bool,
    falls_through: bool,
    auto_ptr: bool,
    ttl: u32,
}

struct Model<'a> {
    zones: &'a [PlainZone],
    services: &'a [Plain],
    local: &'a str,
    flatten: Flatten,
}

#[derive(Debug, PartialEq, Eq)]
struct Expected {
    rcode: ResponseCode,
    answers: Vec<String>,
    additionals: Vec<String>,
    /// The owner of the SOA.
    soa: Option<String>,
    /// Whether upstreams are asked instead.
    is_forwarded: bool,
}

fn wild(label: &str) -> bool {
    label == "*" || label == "any"
}

fn path(name: &str) -> Vec<String> {
    name.to_lowercase().trim_end_matches('.').split('.').rev().map(str::to_owned).collect()
}

fn dotted(key: &[String]) -> String {
    key.iter().rev().cloned().collect::<Vec<_>>().join(".")
}

impl Model<'_> {
    /// The zone with the longest apex that a key is at or below.
    fn zone_of_key(&self, key: &[String]) -> Option<&PlainZone> {
        let of = self.zones.iter().filter(|zone| key.starts_with(&zone.apex));
        of.max_by_key(|zone| zone.apex.len())
    }

    fn zone_of(&self, name: &str) -> Option<&PlainZone> {
        self.zone_of_key(&path(name))
    }

    fn inside(&self, name: &str) -> bool {
        self.zone_of(name).is_some()
    }

    /// Whether upstreams are asked for a name, if nothing here has it.
    fn leaves(&self, name: &str) -> bool {
        self.zone_of(name).is_none_or(|zone| zone.falls_through)
    }

    /// The TTL of a record whose owner is in the zone of a name.
    fn ttl(&self, s: &Plain, name: &str) -> u32 {
        let default = self.zone_of(name).unwrap_or(&self.zones[0]).ttl;
        if s.ttl == 0 { default } else { s.ttl }
    }

    /// Whether a name exists without a service: an apex, a name above one, or one above local.dns.
    fn exists_without(&self, name: &[String]) -> bool {
        self.zones.iter().any(|zone| zone.apex.starts_with(name)) && self.zone_of_key(name).is_some()
            || name == path(&format!("dns.{DOMAIN}"))
    }

    /// The services of a name in exact mode.
    fn exact(&self, asked: &[String], zone: &PlainZone) -> Option<Vec<&Plain>> {
        let ours: Vec<&Plain> =
            self.services.iter().filter(|s| self.zone_of_key(&s.key) == Some(zone)).collect();
        let owner = |s: &Plain| {
            let stripped = s.key.len().checked_sub(s.strip).filter(|len| *len >= zone.apex.len());
            s.key[..stripped.unwrap_or(s.key.len())].to_vec()
        };
        let has_data = |name: &[String]| ours.iter().any(|s| owner(s).starts_with(name));
        let exists = |name: &[String]| self.exists_without(name) || has_data(name);
        let mut source = asked.to_vec();
        if !exists(asked) {
            while !exists(&source) {
                source.pop();
            }
            source.push("*".to_owned());
            if !has_data(&source) {
                return None;
            }
        }
        let is_leaf = |key: &[String]| self.services.iter().all(|s| s.key == key || !s.key.starts_with(key));
        let is_in_pool = |s: &Plain| {
            let label = s.key.last().expect("a label");
            owner(s) == s.key
                && s.key.len() == source.len() + 1
                && s.key.starts_with(&source)
                && source.len() > zone.apex.len()
                && label != "*"
                && !label.starts_with('_')
                && is_leaf(&s.key)
        };
        Some(ours.iter().copied().filter(|s| owner(s) == source || is_in_pool(s)).collect())
    }

    /// The services of a name, without those that are equal to one before.
    fn lookup(&self, name: &str) -> Option<Vec<&Plain>> {
        self.lookup_of(name, |_| true)
    }

    /// The same of the services that count; no other hides one of them.
    fn lookup_of(&self, name: &str, counts: impl Fn(&Plain) -> bool) -> Option<Vec<&Plain>> {
        let asked = path(name);
        let zone = self.zone_of_key(&asked);
        let equal = |s: &Plain, t: &Plain| {
            (&s.host, s.port, s.priority, s.weight, &s.text)
                == (&t.host, t.port, t.priority, t.weight, &t.text)
        };
        let mut found: Vec<&Plain> = Vec::new();
        if let Some(zone) = zone.filter(|zone| zone.is_exact) {
            for s in self.exact(&asked, zone)? {
                if counts(s) && !found.iter().any(|t| equal(s, t)) {
                    found.push(s);
                }
            }
            return Some(found);
        }
        let fixed: Vec<_> = asked.iter().take_while(|label| !wild(label)).cloned().collect();
        let at_or_below: Vec<&Plain> = self.services.iter().filter(|s| s.key.starts_with(&fixed)).collect();
        let below: Vec<_> = at_or_below.iter().filter(|s| self.zone_of_key(&s.key) == zone).collect();
        if below.is_empty() {
            return self.exists_without(&fixed).then(Vec::new);
        }
        if at_or_below.len() == 1 && below[0].key == fixed {
            return Some(below.into_iter().copied().filter(|s| counts(s)).collect());
        }
        for s in below {
            let fits = s.key.len() >= asked.len()
                && asked.iter().zip(&s.key).all(|(asked, label)| wild(asked) || asked == label);
            let hidden = s.key[fixed.len()..].iter().any(|label| label.starts_with('_'));
            if fits && !hidden && counts(s) && !found.iter().any(|t| equal(s, t)) {
                found.push(s);
            }
        }
        Some(found)
    }

    fn group(found: Vec<&Plain>) -> Vec<&Plain> {
        let with: Vec<_> = found.iter().filter(|s| !s.group.is_empty()).collect();
        let Some(shortest) = with.iter().map(|s| s.key.len()).min() else { return found };
        let mut names: Vec<_> = with.iter().filter(|s| s.key.len() == shortest).map(|s| &s.group).collect();
        names.sort();
        names.dedup();
        if names.len() > 1 {
            return found;
        }
        let name = names[0].clone();
        found.into_iter().filter(|s| s.group.is_empty() || s.group == name).collect()
    }

    /// The one host of a name, and the least TTL.
    fn only_host(&self, owner: &str, name: &str) -> Option<(String, u32)> {
        let found = Self::group(self.lookup(name)?);
        let hosts: Vec<_> = found.iter().filter(|s| !s.host.is_empty()).collect();
        let first = hosts.first().filter(|s| kind(&s.host) == "NAME")?;
        let least = hosts.iter().map(|s| self.ttl(s, owner)).min()?;
        hosts.iter().all(|s| s.host == first.host).then(|| (first.host.clone(), least))
    }

    fn cname(&self, name: &str) -> Option<(String, u32)> {
        self.cname_of(name, name)
    }

    fn cname_of(&self, owner: &str, name: &str) -> Option<(String, u32)> {
        if self.zones.iter().any(|zone| zone.apex == path(name)) || self.flatten == Flatten::Always {
            return None;
        }
        let (target, least) = self.only_host(owner, name)?;
        let (mut seen, mut next) = (vec![name.to_owned()], target.clone());
        while !seen.contains(&next) {
            seen.push(next.clone());
            match self.only_host(&next, &next) {
                Some((target, _)) => next = target,
                None => return Some((target, least)),
            }
        }
        None
    }

    /// The addresses of a name and of the names that it leads to, in depth-first order.
    fn flat(&self, owner: &str, name: &str, types: &[&str]) -> Vec<String> {
        let mut out = Vec::new();
        let mut seen = vec![name.to_owned()];
        let mut to_visit = vec![(name.to_owned(), u32::MAX, 0)];
        while let Some((name, max, depth)) = to_visit.pop() {
            let Some(found) = self.lookup(&name) else {
                if depth > 0 && self.leaves(&name) && name.split('.').count() >= 2 {
                    let rtype = if types.contains(&"A") { RecordType::A } else { RecordType::AAAA };
                    let records = upstream(&name, rtype).unwrap_or_default();
                    let parts = |record: &String| {
                        let words: Vec<_> = record.split(' ').map(str::to_owned).collect();
                        (words[1].parse::<u32>().expect("a TTL"), words[2].clone(), words[3].clone())
                    };
                    let records: Vec<_> = records.iter().map(parts).collect();
                    let least = records.iter().map(|(ttl, ..)| *ttl).fold(max, u32::min);
                    for (_, rtype, address) in records.iter().filter(|(_, rtype, _)| rtype != "CNAME") {
                        out.push(format!("{owner}. {least} {rtype} {address}"));
                    }
                }
                continue;
            };
            let mut next = Vec::new();
            let of = if depth == 0 { owner } else { &name };
            for s in Self::group(found) {
                let rtype = kind(&s.host);
                if types.contains(&rtype) {
                    out.push(format!("{owner}. {} {rtype} {}", self.ttl(s, of).min(max), s.host));
                } else if rtype == "NAME" && depth < 8 && !seen.contains(&s.host) {
                    seen.push(s.host.clone());
                    next.push((s.host.clone(), self.ttl(s, of).min(max), depth + 1));
                }
            }
            to_visit.extend(next.into_iter().rev());
        }
        out
    }

    /// The records that follow from a name for ADDITIONAL.
    fn extra(&self, target: &str) -> Vec<String> {
        let mut out = Vec::new();
        let mut owner = target.to_owned();
        while out.len() <= 8 {
            if self.leaves(&owner) && self.lookup(&owner).is_none() {
                let known = owner.split('.').count() >= 2;
                let rest = upstream(&owner, RecordType::A).filter(|_| known).unwrap_or_default();
                return if rest.is_empty() { rest } else { [out, rest].concat() };
            }
            let Some((next, least)) = self.cname(&owner) else {
                let rest = self.flat(&owner, &owner, &["A", "AAAA"]);
                return if rest.is_empty() { rest } else { [out, rest].concat() };
            };
            out.push(format!("{owner}. {least} CNAME {next}."));
            owner = next;
        }
        Vec::new()
    }

    /// The name of a service's key, without the labels that it strips.
    fn own_name(&self, s: &Plain) -> String {
        let full = dotted(&s.key);
        let labels: Vec<_> = full.split('.').collect();
        let stripped = labels[s.strip.min(labels.len())..].join(".");
        let fits = !stripped.is_empty() && self.zone_of(&stripped) == self.zone_of(&full);
        if fits { stripped } else { full }
    }

    /// The PTR records of an address.
    fn pointers(&self, owner: &str, address: &str) -> Vec<String> {
        let gives = |s: &&Plain| {
            let zone = self.zone_of_key(&s.key);
            s.host == address && zone.is_some_and(|zone| zone.auto_ptr) && !s.key.contains(&"*".to_owned())
        };
        let found: Vec<_> = self.services.iter().filter(gives).collect();
        let own_ttl = |s: &&Plain| self.ttl(s, &dotted(&s.key));
        let least = found.iter().map(own_ttl).min().unwrap_or_default();
        let records: Vec<_> =
            found.iter().map(|s| format!("{owner}. {least} PTR {}.", self.own_name(s))).collect();
        tidy(&records, false)
    }

    fn target(&self, owner: &str, s: &Plain, seen: &mut Vec<String>, extra: &mut Vec<String>) -> String {
        let target = match kind(&s.host) {
            "NAME" => s.host.clone(),
            _ => {
                let own = self.own_name(s);
                let is_exact = self.zone_of(owner).is_some_and(|zone| zone.is_exact);
                // In exact mode, what a wildcard has is what the owner has.
                if is_exact && own.starts_with("*.") { owner.to_owned() } else { own }
            }
        };
        match kind(&s.host) {
            "NAME" if seen.contains(&target) => {}
            "NAME" if self.inside(&target) && !(self.leaves(&target) && self.lookup(&target).is_none()) => {
                extra.extend(self.extra(&target));
                seen.push(target.clone());
            }
            "NAME" => {
                seen.push(target.clone());
                if target.split('.').count() >= 2 {
                    extra.extend(upstream(&target, RecordType::A).unwrap_or_default());
                    let v6 = upstream(&target, RecordType::AAAA).unwrap_or_default();
                    extra.extend(v6.into_iter().filter(|r| !r.contains("CNAME")));
                }
            }
            rtype => extra.push(format!("{target}. {} {rtype} {}", self.ttl(s, owner), s.host)),
        }
        target
    }

    /// The records of one name; `None` if it does not exist.
    fn of_name(
        &self,
        owner: &str,
        looked: &str,
        rtype: RecordType,
        extra: &mut Vec<String>,
    ) -> Option<Vec<String>> {
        let found = self.lookup(looked)?;
        let mut seen = Vec::new();
        Some(match rtype {
            RecordType::A if self.cname(looked).is_none() => self.flat(owner, looked, &["A"]),
            RecordType::AAAA if self.cname(looked).is_none() => self.flat(owner, looked, &["AAAA"]),
            RecordType::TXT => {
                let with = Self::group(found).into_iter().filter(|s| !s.text.is_empty());
                with.map(|s| format!("{owner}. {} TXT {}", self.ttl(s, owner), s.text)).collect()
            }
            RecordType::SRV => {
                let found: Vec<_> = Self::group(found).into_iter().filter(|s| !s.host.is_empty()).collect();
                let weight = |s: &Plain| if s.weight == 0 { 100 } else { s.weight };
                found
                    .iter()
                    .map(|s| {
                        let peers = found.iter().filter(|t| priority(t) == priority(s));
                        let sum: u64 = peers.map(|t| weight(t)).sum();
                        let target = self.target(owner, s, &mut seen, extra);
                        let (w, p) = (100 * weight(s) / sum, priority(s));
                        format!("{owner}. {} SRV {p} {w} {} {target}.", self.ttl(s, owner), s.port)
                    })
                    .collect()
            }
            RecordType::MX => {
                let mail = self.lookup_of(looked, |s| s.mail && !s.host.is_empty())?;
                let record = |s: &&Plain| {
                    let target = self.target(owner, s, &mut seen, extra);
                    format!("{owner}. {} MX {} {target}.", self.ttl(s, owner), priority(s))
                };
                mail.iter().map(record).collect()
            }
            RecordType::ANY => {
                vec![format!("{owner}. {} HINFO RFC8482 ", self.zone_of(owner).expect("a zone").ttl)]
            }
            _ => Vec::new(),
        })
    }

    fn answer(&self, asked: &str, rtype: RecordType) -> Expected {
        let looked = if asked == format!("local.dns.{DOMAIN}") { self.local } else { asked };
        let (mut owner, mut looked) = (asked.to_owned(), looked.to_owned());
        let (mut answers, mut extra) = (Vec::new(), Vec::new());
        let (mut rcode, mut soa) = (ResponseCode::NoError, None);
        let apex =
            |name: &str| Some(format!("{}.", dotted(&self.zone_of(name).unwrap_or(&self.zones[0]).apex)));
        for step in 0..=8 {
            if step > 0 && self.leaves(&looked) && self.lookup(&looked).is_none() {
                let is_address = matches!(rtype, RecordType::A | RecordType::AAAA);
                let known = looked.split('.').count() >= 2 || !is_address;
                let reply = if known { upstream(&looked, rtype) } else { Some(Vec::new()) };
                soa = (!known).then(|| format!("{looked}."));
                rcode = if reply.is_none() { ResponseCode::NXDomain } else { rcode };
                answers.extend(reply.unwrap_or_default());
                break;
            }
            match self.of_name(&owner, &looked, rtype, &mut extra) {
                None if step == 0 && self.leaves(asked) => {
                    return Expected { rcode, answers, additionals: Vec::new(), soa, is_forwarded: true };
                }
                None => (rcode, soa) = (ResponseCode::NXDomain, apex(&owner)),
                Some(records) if !records.is_empty() => answers.extend(records),
                Some(_) => match self.cname_of(&owner, &looked) {
                    None => soa = apex(&owner),
                    Some((target, least)) => {
                        if step < 8 {
                            answers.push(format!("{owner}. {least} CNAME {target}."));
                        }
                        (owner, looked) = (target.clone(), target);
                        if rtype != RecordType::CNAME {
                            continue;
                        }
                    }
                },
            }
            break;
        }
        let (answers, additionals) = (tidy(&answers, true), tidy(&extra, false));
        Expected { rcode, answers, additionals, soa, is_forwarded: false }
    }
}

fn kind(host: &str) -> &'static str {
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.is_ipv4() => "A",
        Ok(_) => "AAAA",
        Err(_) if host.is_empty() => "NONE",
        Err(_) => "NAME",
    }
}

fn priority(s: &Plain) -> u16 {
    if s.priority == 0 { 10 } else { s.priority }
}

/// One CNAME an owner, no record twice, the least TTL for each owner and type, records of one owner and
/// type together, CNAMEs first.
fn tidy(records: &[String], cnames_first: bool) -> Vec<String> {
    let parts = |record: &str| -> (String, u32, String, String) {
        let mut words = record.splitn(4, ' ').map(str::to_owned);
        let mut word = || words.next().expect("four words");
        (word(), word().parse().expect("a TTL"), word(), word())
    };
    let mut kept: Vec<(String, u32, String, String)> = Vec::new();
    for record in records {
        let (owner, ttl, rtype, rdata) = parts(record);
        let double =
            kept.iter().any(|(o, _, t, r)| *o == owner && *t == rtype && (*t == "CNAME" || *r == rdata));
        if !double {
            kept.push((owner, ttl, rtype, rdata));
        }
    }
    let mut least = BTreeMap::new();
    for (owner, ttl, rtype, _) in &kept {
        let entry = least.entry((owner.clone(), rtype.clone())).or_insert(*ttl);
        *entry = (*entry).min(*ttl);
    }
    let order: Vec<_> = kept.iter().map(|(owner, _, rtype, _)| (owner.clone(), rtype.clone())).collect();
    kept.sort_by_key(|(owner, _, rtype, _)| order.iter().position(|o| (&o.0, &o.1) == (owner, rtype)));
    if cnames_first {
        kept.sort_by_key(|(_, _, rtype, _)| rtype != "CNAME");
    }
    let text = |(owner, _, rtype, rdata): &(String, u32, String, String)| {
        format!("{owner} {} {rtype} {rdata}", least[&(owner.clone(), rtype.clone())])
    };
    kept.iter().map(text).collect()
}

// --- the program -------------------------------------------------------------------------------

fn build(services: &[Plain]) -> Tree {
    let mut tree = Tree::new();
    for s in services {
        let value = serde_json::json!({
            "host": s.host, "port": s.port, "priority": s.priority, "weight": s.weight, "ttl": s.ttl,
            "text": s.text, "group": s.group, "targetstrip": s.strip, "mail": s.mail,
        });
        let service = Service::from_json(value.to_string().as_bytes()).expect("a service");
        tree.put(&Key::from_name(&name(&dotted(&s.key))), Layer(1), Entry::new(service));
    }
    tree
}

/// The answer; `None` if upstreams are asked.
fn ask(tree: &Tree, site: &Arc<Site>, asked: &str, rtype: RecordType) -> Option<Answer> {
    let mut externals = Externals::new();
    let query = Query::query(name(asked), rtype);
    for _ in 0..2 {
        let view = View {
            site,
            tree,
            dependencies: &Dependencies::default(),
            freshness: &SiteFreshness::default(),
            now: 1_000,
            seed: 1,
            externals: &externals,
            made: &Made::default(),
            max_records: 4_000,
            work: &Work::new(u32::MAX),
            forwards: true,
            dnssec: None,
        };
        match answer(&query, &view) {
            Outcome::Answered(answer) => return Some(answer),
            Outcome::Forward => return None,
            Outcome::ForwardExisting => panic!("{asked} is ours"),
            Outcome::Lookup(lookups) => {
                for Lookup { name, rtype } in lookups {
                    let text = name.to_ascii().to_lowercase();
                    let records = upstream(text.trim_end_matches('.'), rtype);
                    let is_denied = records.is_none();
                    let records = records.iter().flatten().map(|r| record(r)).collect();
                    externals.insert(
                        Lookup { name, rtype },
                        ExternalReply { records, is_denied, ..ExternalReply::default() },
                    );
                }
            }
        }
    }
    panic!("{asked}: look-ups never end");
}

fn record(text: &str) -> Record {
    use hickory_proto::rr::{RData, rdata};
    let words: Vec<_> = text.split(' ').collect();
    let data = match words[2] {
        "A" => RData::A(rdata::A(words[3].parse().expect("an address"))),
        "AAAA" => RData::AAAA(rdata::AAAA(words[3].parse().expect("an address"))),
        _ => RData::CNAME(rdata::CNAME(Name::from_str(words[3]).expect("a name"))),
    };
    Record::from_rdata(name(words[0]), words[1].parse().expect("a TTL"), data)
}

fn texts(records: &[Record]) -> Vec<String> {
    use hickory_proto::rr::RData;
    let rdata = |record: &Record| match &record.data {
        RData::TXT(txt) => txt.txt_data.iter().map(|s| String::from_utf8_lossy(s)).collect::<String>(),
        other => other.to_string(),
    };
    let text = |r: &Record| format!("{} {} {} {}", r.name, r.ttl, r.record_type(), rdata(r));
    records.iter().map(text).collect()
}

// --- chance ------------------------------------------------------------------------------------

fn label() -> impl Strategy<Value = String> {
    prop_oneof![
        16 => "[a-c]", 2 => Just("_t".to_owned()), 2 => Just("dns".to_owned()), 1 => Just("*".to_owned())
    ]
}

fn host() -> impl Strategy<Value = String> {
    let ours =
        proptest::collection::vec("[a-c]", 1..4).prop_map(|labels| format!("{}.{DOMAIN}", labels.join(".")));
    prop_oneof![
        4 => (0..4u8).prop_map(|n| format!("10.0.0.{n}")),
        2 => (1..4u8).prop_map(|n| format!("2001:db8::{n}")),
        5 => ours,
        1 => prop_oneof![Just("www.ext.test"), Just("four.ext.test"), Just("gone.ext.test"), Just("single")]
            .prop_map(str::to_owned),
        1 => Just("other.tree.test".to_owned()),
        1 => Just(String::new()),
    ]
}

fn plain() -> impl Strategy<Value = Plain> {
    let key = prop_oneof![
        12 => proptest::collection::vec(label(), 1..5).prop_map(|mut labels| {
            labels.splice(0..0, ["test".to_owned(), "x".to_owned()]);
            labels
        }),
        1 => Just(path("other.tree.test")),
    ];
    let numbers =
        (0..3u16, prop_oneof![Just(0u16), Just(10), Just(20)], 0..4u64, prop_oneof![Just(0u32), 1..100u32]);
    let rest = (
        prop_oneof![3 => Just(""), 1 => Just("hello"), 1 => Just("bye")],
        prop_oneof![3 => Just(""), 1 => Just("g1"), 1 => Just("g2")],
        prop_oneof![4 => Just(0usize), 1 => 0..7usize],
        any::<bool>(),
    );
    (key, host(), numbers, rest).prop_map(
        |(key, host, (port, priority, weight, ttl), (text, group, strip, mail))| Plain {
            key,
            host,
            port,
            priority,
            weight: weight * 50,
            ttl,
            text: text.to_owned(),
            group: group.to_owned(),
            strip,
            mail,
        },
    )
}

/// The zone of the site, and perhaps others below it.
fn zones() -> impl Strategy<Value = Vec<PlainZone>> {
    let zone = |apex: String| {
        (any::<[bool; 3]>(), 1..4u32).prop_map(move |([is_exact, falls_through, auto_ptr], hours)| {
            PlainZone { apex: path(&apex), is_exact, falls_through, auto_ptr, ttl: 3_600 * hours }
        })
    };
    let below = |apex: &str| proptest::option::of(zone(format!("{apex}.{DOMAIN}")));
    (zone(DOMAIN.to_owned()), below("b"), below("c.a"))
        .prop_map(|(first, second, third)| [Some(first), second, third].into_iter().flatten().collect())
}

/// The same zones, as the program has them.
fn site(zones: &[PlainZone], local: &str, flatten: Flatten) -> Arc<Site> {
    let mut all = zones.iter().map(|plain| {
        let mut zone = Zone::new(&name(&dotted(&plain.apex)));
        zone.mode = if plain.is_exact { Mode::Exact } else { Mode::Subtree };
        (zone.falls_through, zone.auto_ptr, zone.ttl) = (plain.falls_through, plain.auto_ptr, plain.ttl);
        zone
    });
    let mut first = all.next().expect("a zone");
    first.local = Some(name(local));
    let site = Site { round_robin: false, flatten, ..Site::new(first) };
    Arc::new(Site { zones: Zones::new(site.zones.first().clone(), all), ..site })
}

fn question() -> impl Strategy<Value = (String, RecordType)> {
    let label = prop_oneof![8 => label(), 2 => Just("*".to_owned()), 1 => Just("any".to_owned()), 1 => Just("none".to_owned())];
    let asked = prop_oneof![
        10 => proptest::collection::vec(label, 0..5).prop_map(|labels| {
            labels.into_iter().chain([DOMAIN.to_owned()]).collect::<Vec<_>>().join(".")
        }),
        1 => Just(format!("local.dns.{DOMAIN}")),
    ];
    let rtype = prop_oneof![
        3 => Just(RecordType::A), 2 => Just(RecordType::AAAA), 3 => Just(RecordType::SRV), 1 => Just(RecordType::MX),
        1 => Just(RecordType::TXT), 1 => Just(RecordType::CNAME), 1 => Just(RecordType::ANY), 1 => Just(RecordType::CAA),
    ];
    (asked, rtype)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn answers_equal_the_models(
        mut services in proptest::collection::vec(plain(), 0..25),
        questions in proptest::collection::vec(question(), 8),
        flatten in prop_oneof![3 => Just(Flatten::Auto), 1 => Just(Flatten::Always)],
        zones in zones(),
    ) {
        services.sort_by(|a, b| a.key.cmp(&b.key));
        services.dedup_by(|a, b| a.key == b.key);
        let tree = build(&services);
        let local = format!("a.b.{DOMAIN}");
        let site = site(&zones, &local, flatten);
        let model = Model { zones: &zones, services: &services, local: &local, flatten };
        for (asked, rtype) in questions {
            let expected = model.answer(&asked, rtype);
            let got = ask(&tree, &site, &asked, rtype);
            let is_forwarded = got.is_none();
            let got = got.unwrap_or_else(|| Answer::empty(ResponseCode::NoError));
            let soa = got.authorities.first().map(|soa| {
                assert_eq!((soa.record_type(), soa.ttl), (RecordType::SOA, MIN_TTL));
                soa.name.to_string()
            });
            let got = Expected {
                rcode: got.rcode,
                answers: texts(&got.answers),
                additionals: texts(&got.additionals),
                soa,
                is_forwarded,
            };
            prop_assert_eq!(got, expected, "{} {}", asked, rtype);
        }
    }

    #[test]
    fn addresses_have_the_models_names(
        mut services in proptest::collection::vec(plain(), 0..20), zones in zones(), last in 0..5u8,
    ) {
        services.sort_by(|a, b| a.key.cmp(&b.key));
        services.dedup_by(|a, b| a.key == b.key);
        let mut tree = build(&services);
        tree.index_addresses(true);
        let site = site(&zones, &format!("a.{DOMAIN}"), Flatten::Auto);
        let model = Model { zones: &zones, services: &services, local: "", flatten: Flatten::Auto };
        let four = (format!("10.0.0.{last}"), format!("{last}.0.0.10.in-addr.arpa"));
        let six = (format!("2001:db8::{last}"), format!("{last}.{}8.b.d.0.1.0.0.2.ip6.arpa", "0.".repeat(23)));
        for (address, asked) in [four, six] {
            let mut got = ask(&tree, &site, &asked, RecordType::PTR).map(|answer| texts(&answer.answers)).unwrap_or_default();
            let mut expected = model.pointers(&asked, &address);
            // The order of keys is that of the program.
            got.sort();
            expected.sort();
            prop_assert_eq!(got, expected, "{}", asked);
        }
    }
}
