//! Random trees and random questions: the answer equals that of a slow model written from PARITY's
//! rules on plain lists of strings.

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use proptest::prelude::*;
use skydns::answer::{
    Answer, Dependencies, ExternalReply, Externals, Flatten, Lookup, Outcome, Site, SiteFreshness, View,
    Zone, answer,
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

const TTL: u32 = 3600;
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

struct Model<'a> {
    services: &'a [Plain],
    local: &'a str,
    flatten: Flatten,
}

#[derive(Debug, PartialEq, Eq)]
struct Expected {
    rcode: ResponseCode,
    answers: Vec<String>,
    additionals: Vec<String>,
    soa: bool,
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

fn inside(name: &str) -> bool {
    name == DOMAIN || name.ends_with(&format!(".{DOMAIN}"))
}

impl Model<'_> {
    /// The services of a name, without those that are equal to one before.
    fn lookup(&self, name: &str) -> Option<Vec<&Plain>> {
        self.lookup_of(name, |_| true)
    }

    /// The same of the services that count; no other hides one of them.
    fn lookup_of(&self, name: &str, counts: impl Fn(&Plain) -> bool) -> Option<Vec<&Plain>> {
        let asked = path(name);
        let fixed: Vec<_> = asked.iter().take_while(|label| !wild(label)).cloned().collect();
        let below: Vec<&Plain> = self.services.iter().filter(|s| s.key.starts_with(&fixed)).collect();
        if below.is_empty() {
            // local.dns is always there, and so is what it is below.
            return (fixed == path(DOMAIN) || fixed == path(&format!("dns.{DOMAIN}"))).then(Vec::new);
        }
        if below.len() == 1 && below[0].key == fixed {
            return Some(below.into_iter().filter(|s| counts(s)).collect());
        }
        let mut found: Vec<&Plain> = Vec::new();
        for s in below {
            let fits = s.key.len() >= asked.len()
                && asked.iter().zip(&s.key).all(|(asked, label)| wild(asked) || asked == label);
            let hidden = s.key[fixed.len()..].iter().any(|label| label.starts_with('_'));
            let equal = |t: &&Plain| {
                (&s.host, s.port, s.priority, s.weight, &s.text)
                    == (&t.host, t.port, t.priority, t.weight, &t.text)
            };
            if fits && !hidden && counts(s) && !found.iter().any(equal) {
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
    fn only_host(&self, name: &str) -> Option<(String, u32)> {
        let found = Self::group(self.lookup(name)?);
        let hosts: Vec<_> = found.iter().filter(|s| !s.host.is_empty()).collect();
        let first = hosts.first().filter(|s| kind(&s.host) == "NAME")?;
        let least = hosts.iter().map(|s| ttl(s)).min()?;
        hosts.iter().all(|s| s.host == first.host).then(|| (first.host.clone(), least))
    }

    fn cname(&self, name: &str) -> Option<(String, u32)> {
        if name == DOMAIN || self.flatten == Flatten::Always {
            return None;
        }
        let (target, least) = self.only_host(name)?;
        let (mut seen, mut next) = (vec![name.to_owned()], target.clone());
        while !seen.contains(&next) {
            seen.push(next.clone());
            match self.only_host(&next) {
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
                if depth > 0 && !inside(&name) && name.split('.').count() >= 2 {
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
            for s in Self::group(found) {
                let rtype = kind(&s.host);
                if types.contains(&rtype) {
                    out.push(format!("{owner}. {} {rtype} {}", ttl(s).min(max), s.host));
                } else if rtype == "NAME" && depth < 8 && !seen.contains(&s.host) {
                    seen.push(s.host.clone());
                    next.push((s.host.clone(), ttl(s).min(max), depth + 1));
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
            if !inside(&owner) && self.lookup(&owner).is_none() {
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

    fn target(&self, s: &Plain, seen: &mut Vec<String>, extra: &mut Vec<String>) -> String {
        let full = dotted(&s.key);
        let labels: Vec<_> = full.split('.').collect();
        let stripped = labels[s.strip.min(labels.len())..].join(".");
        let fits = !stripped.is_empty() && (inside(&stripped) || !inside(&full));
        let target = match kind(&s.host) {
            "NAME" => s.host.clone(),
            _ if fits => stripped,
            _ => full,
        };
        match kind(&s.host) {
            "NAME" if seen.contains(&target) => {}
            "NAME" if inside(&target) => {
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
            rtype => extra.push(format!("{target}. {} {rtype} {}", ttl(s), s.host)),
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
                with.map(|s| format!("{owner}. {} TXT {}", ttl(s), s.text)).collect()
            }
            RecordType::SRV => {
                let found: Vec<_> = Self::group(found).into_iter().filter(|s| !s.host.is_empty()).collect();
                let weight = |s: &Plain| if s.weight == 0 { 100 } else { s.weight };
                found
                    .iter()
                    .map(|s| {
                        let peers = found.iter().filter(|t| priority(t) == priority(s));
                        let sum: u64 = peers.map(|t| weight(t)).sum();
                        let target = self.target(s, &mut seen, extra);
                        let (w, p) = (100 * weight(s) / sum, priority(s));
                        format!("{owner}. {} SRV {p} {w} {} {target}.", ttl(s), s.port)
                    })
                    .collect()
            }
            RecordType::MX => {
                let mail = self.lookup_of(looked, |s| s.mail && !s.host.is_empty())?;
                let record = |s: &&Plain| {
                    let target = self.target(s, &mut seen, extra);
                    format!("{owner}. {} MX {} {target}.", ttl(s), priority(s))
                };
                mail.iter().map(record).collect()
            }
            RecordType::ANY => vec![format!("{owner}. {TTL} HINFO RFC8482 ")],
            _ => Vec::new(),
        })
    }

    fn answer(&self, asked: &str, rtype: RecordType) -> Expected {
        let looked = if asked == format!("local.dns.{DOMAIN}") { self.local } else { asked };
        let (mut owner, mut looked) = (asked.to_owned(), looked.to_owned());
        let (mut answers, mut extra) = (Vec::new(), Vec::new());
        let (mut rcode, mut soa) = (ResponseCode::NoError, false);
        for step in 0..=8 {
            if step > 0 && !inside(&looked) && self.lookup(&looked).is_none() {
                let is_address = matches!(rtype, RecordType::A | RecordType::AAAA);
                let known = looked.split('.').count() >= 2 || !is_address;
                let reply = if known { upstream(&looked, rtype) } else { Some(Vec::new()) };
                soa = !known;
                rcode = if reply.is_none() { ResponseCode::NXDomain } else { rcode };
                answers.extend(reply.unwrap_or_default());
                break;
            }
            match self.of_name(&owner, &looked, rtype, &mut extra) {
                None => (rcode, soa) = (ResponseCode::NXDomain, true),
                Some(records) if !records.is_empty() => answers.extend(records),
                Some(_) => match self.cname(&looked) {
                    None => soa = true,
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
        Expected { rcode, answers: tidy(&answers, true), additionals: tidy(&extra, false), soa }
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

fn ttl(s: &Plain) -> u32 {
    if s.ttl == 0 { TTL } else { s.ttl }
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

fn ask(tree: &Tree, site: &Arc<Site>, asked: &str, rtype: RecordType) -> Answer {
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
            max_records: 4_000,
            work: &Work::new(u32::MAX),
            forwards: true,
            dnssec: None,
        };
        match answer(&query, &view) {
            Outcome::Answered(answer) => return answer,
            Outcome::Forward | Outcome::ForwardExisting => panic!("{asked} is ours"),
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
    prop_oneof![8 => "[a-c]", 1 => Just("_t".to_owned()), 1 => Just("dns".to_owned())]
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
    ) {
        services.sort_by(|a, b| a.key.cmp(&b.key));
        services.dedup_by(|a, b| a.key == b.key);
        let tree = build(&services);
        let local = format!("a.b.{DOMAIN}");
        let mut zone = Zone::new(&name(DOMAIN));
        zone.local = Some(name(&local));
        let site = Arc::new(Site { round_robin: false, flatten, ..Site::new(zone) });
        let model = Model { services: &services, local: &local, flatten };
        for (asked, rtype) in questions {
            let expected = model.answer(&asked, rtype);
            let got = ask(&tree, &site, &asked, rtype);
            let got = Expected {
                rcode: got.rcode,
                answers: texts(&got.answers),
                additionals: texts(&got.additionals),
                soa: matches!(got.authorities.as_slice(), [soa] if soa.record_type() == RecordType::SOA && soa.ttl == MIN_TTL),
            };
            prop_assert_eq!(got, expected, "{} {}", asked, rtype);
        }
    }
}
