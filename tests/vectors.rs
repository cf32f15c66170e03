//! SkyDNS's own test tables against the program, with a real etcd and with files.

mod support;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, rdata};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use support::etcd::Etcd;
use support::upstream::{Upstream, add, failure, reply_to, soa};
use support::v2::V2;
use support::{Agent, Setup, Stream, eventually, exchange, free_port, query};

const DANGLING: &str = "CNAMEs that lead to no data: the CNAMEs, and the response code of the last name";

/// Cases that contradict a rule that SkyDNS broke, with that rule and what is expected instead.
const OVERRULED: [(&str, &str, Instead); 13] = [
    (
        "a-cname-external",
        "TTL of an answer: one TTL per RRset, upstream TTLs kept and counting down",
        Instead::OtherTtls,
    ),
    ("chaos-a-servfail", "other CH, other classes: REFUSED", Instead::Rcode("REFUSED")),
    ("forward-no-rec", "no_rec forwards: REFUSED", Instead::Rcode("REFUSED")),
    ("stub-loop", "stub zones: a loop gets REFUSED", Instead::Rcode("REFUSED")),
    ("stub-loop-edns", "stub zones: a loop gets REFUSED", Instead::Rcode("REFUSED")),
    ("dnssec-nxdomain", "denial: bitmaps that tell the truth", Instead::OtherTypes),
    ("dnssec-nxdomain-repeat", "denial: bitmaps that tell the truth", Instead::OtherTypes),
    ("dnssec-nodata-txt", "denial: bitmaps that tell the truth", Instead::OtherTypes),
    (
        "a-cname-unresolvable-internal",
        DANGLING,
        Instead::Sections(
            "NOERROR",
            &[
                "2.cname.skydns.test. CNAME 100.server1.development.region1.skydns.test.",
                "100.server1.development.region1.skydns.test. CNAME server1.",
            ],
        ),
    ),
    (
        "a-cname-unresolvable-external",
        DANGLING,
        Instead::Sections("NXDOMAIN", &["external2.cname.skydns.test. CNAME wwwwwww.miek.nl."]),
    ),
    (
        "nodata-a-hostname-only",
        DANGLING,
        Instead::Sections("NOERROR", &["100.server1.development.region1.skydns.test. CNAME server1."]),
    ),
    (
        "nodata-mx-not-mail",
        "a type that a name with a CNAME does not have: the CNAME, and what it leads to",
        Instead::Sections("NXDOMAIN", &["100.server1.development.region1.skydns.test. CNAME server1."]),
    ),
    (
        "mx-double-cname-additional",
        "a name whose services have several names: their addresses, no CNAME",
        Instead::Sections(
            "NOERROR",
            &[
                "a.mail2.skydns.test. MX 50 mx2.skydns.test.",
                "mx2.skydns.test. A 172.16.1.1",
                "mx2.skydns.test. A 172.16.1.2",
            ],
        ),
    ),
];

#[derive(Clone, Copy, PartialEq)]
enum Instead {
    OtherTtls,
    /// Another type bit map.
    OtherTypes,
    Rcode(&'static str),
    /// Another code, with these records in the answer and additional sections.
    Sections(&'static str, &'static [&'static str]),
}

/// SkyDNS's own key, which signs in all cases.
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/dnssec-key/Kskydns.test.+005+51945");

fn has(value: &Value, list: &str, word: &str) -> bool {
    value[list].as_array().is_some_and(|words| words.iter().any(|w| w == word))
}

fn load(file: &str) -> Value {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
}

/// Where services are stored.
enum Store {
    Etcd(Box<Etcd>),
    /// The same by its v2 API.
    EtcdV2(Box<(Etcd, V2)>),
    Files,
}

impl Store {
    fn etcd_v2() -> Self {
        Self::EtcdV2(Box::new(V2::server()))
    }

    /// Puts a key, which may end after so many seconds; files are written before the agent starts.
    fn put(&self, key: &str, value: &str, ttl: Option<i64>) {
        match (self, ttl) {
            (Self::Files, _) => {}
            (Self::Etcd(etcd), Some(ttl)) => drop(etcd.put_with_lease(key, value, ttl)),
            (Self::Etcd(etcd), None) => etcd.put(key, value),
            (Self::EtcdV2(store), Some(ttl)) => {
                store.1.put_ttl(key, value, u32::try_from(ttl).expect("a TTL"));
            }
            (Self::EtcdV2(store), None) => store.1.put(key, value),
        }
    }

    /// The endpoint, if it is no directory.
    fn endpoint(&self) -> Option<String> {
        match self {
            Self::Etcd(etcd) => Some(etcd.endpoint()),
            Self::EtcdV2(store) => Some(store.0.endpoint()),
            Self::Files => None,
        }
    }
}

#[test]
fn tables_of_2_5_with_etcd() {
    assert_eq!(run_file("skydns-2.5.json", || Store::Etcd(Box::new(Etcd::start()))), 72);
}

#[test]
fn tables_of_2_5_with_files() {
    // Files have no leases.
    assert_eq!(run_file("skydns-2.5.json", || Store::Files), 71);
}

#[test]
fn tables_of_2_0_with_etcd() {
    assert_eq!(run_file("skydns-2.0.json", || Store::Etcd(Box::new(Etcd::start()))), 41);
}

#[test]
fn tables_of_2_0_with_the_v2_api() {
    assert_eq!(run_file("skydns-2.0.json", Store::etcd_v2), 41);
}

#[test]
fn tables_of_2_5_with_the_v2_api() {
    assert_eq!(run_file("skydns-2.5.json", Store::etcd_v2), 72);
}

#[test]
fn tables_of_2_0_with_files() {
    assert_eq!(run_file("skydns-2.0.json", || Store::Files), 40);
}

/// Runs a file; says how many cases ran.
fn run_file(file: &str, store: impl Fn() -> Store) -> usize {
    let tables = load(file);
    let upstream = scripted(&tables["upstream"]);
    let cases = tables["cases"].as_array().expect("cases");
    let (mut ran, mut failures) = (0, Vec::new());
    let mut shared = None;
    for case in cases {
        let own = case["only_own_services"] == true;
        if matches!(store(), Store::Files) && has(case, "needs", "etcd-ttl") {
            continue;
        }
        ran += 1;
        let result = if own {
            let site = Site::start(&tables, case, store(), &upstream);
            site.run(case)
        } else {
            let site = shared.get_or_insert_with(|| Site::start(&tables, &tables, store(), &upstream));
            site.run(case)
        };
        if let Err(why) = result {
            failures.push(format!("{}: {why}", case["id"]));
        }
    }
    assert!(failures.is_empty(), "{} of {ran} cases failed:\n{}", failures.len(), failures.join("\n"));
    ran
}

/// An agent over the services of a table or of one case, and the agents beside it.
struct Site {
    agent: Agent,
    _others: Vec<Agent>,
    _store: Store,
}

impl Site {
    fn start(tables: &Value, case: &Value, store: Store, upstream: &Upstream) -> Self {
        let mut ports = BTreeMap::new();
        for placeholder in ["$SELF_PORT", "$OTHER_PORT_1", "$OTHER_PORT_2"] {
            ports.insert(placeholder, free_port());
        }
        let services = services(case, &ports, upstream.address);
        let mut config = tables["config"].as_object().expect("settings").clone();
        for name in ["dnssec", "path_prefix", "local_domain", "ns_domain", "etcd", "dns_addr"] {
            config.remove(name);
        }
        if let Some(own) = case["config"].as_object().filter(|_| case["only_own_services"] == true) {
            config.extend(
                own.iter().filter(|(name, _)| *name != "dnssec").map(|(n, v)| (n.clone(), v.clone())),
            );
        }
        config.insert("nameservers".to_owned(), json!([upstream.address.to_string()]));
        let stub = has(case, "needs", "stub-zones");
        services.iter().for_each(|(key, value, ttl)| store.put(key, value, *ttl));
        let start = |mut config: Map<String, Value>, own: Option<&Value>, port| {
            if let Some(own) = own.and_then(Value::as_object) {
                config.extend(own.clone());
            }
            if config["domain"] == "skydns.test." {
                config.insert("dnssec".to_owned(), json!([KEY]));
            }
            let mut setup =
                Setup::new().port(port).args(&["-domain", config["domain"].as_str().expect("a domain")]);
            if stub {
                setup = setup.args(&["-stubzones"]);
            }
            for (flag, name) in [("-local", "local"), ("-hostmaster", "hostmaster")] {
                setup = setup.args(&[flag, config[name].as_str().expect("a setting")]);
            }
            let config = Value::Object(config).to_string();
            match store.endpoint() {
                // One etcd serves several agents, so their settings come as flags too.
                Some(endpoint) if own.is_some() => {
                    setup.args(&["-machines", &endpoint, "-path-prefix", "skydns"]).start()
                }
                Some(endpoint) => {
                    let set = case["other_servers"].is_null();
                    if set {
                        store.put("/skydns/config", &config, None);
                    }
                    setup
                        .args(&[
                            "-machines",
                            &endpoint,
                            "-round-robin=false",
                            "-nameservers",
                            &upstream.address.to_string(),
                        ])
                        .start()
                }
                None => {
                    let setup = setup.record("config", &config);
                    services.iter().fold(setup, |setup, (key, value, _)| setup.record(key, value)).start()
                }
            }
        };
        let others = case["other_servers"].as_array().into_iter().flatten();
        let others = others.map(|other| {
            let port = ports[other["port"].as_str().expect("a port")];
            start(config.clone(), Some(&other["config"]), port)
        });
        let others = others.collect();
        let agent = start(config.clone(), None, ports["$SELF_PORT"]);
        eventually("the store is read", || agent.log().contains("in sync"));
        Self { agent, _others: others, _store: store }
    }

    fn run(&self, case: &Value) -> Result<(), String> {
        let (id, asked) = (case["id"].as_str().expect("an id"), &case["query"]);
        let mut expect = case["expect"].clone();
        let instead =
            OVERRULED.iter().find(|(overruled, _, _)| *overruled == id).map(|(_, _, instead)| *instead);
        if let Some(Instead::Rcode(rcode)) = instead {
            expect["rcode"] = json!(rcode);
            expect["no_reply"] = json!(false);
        }
        if has(case, "needs", "etcd-ttl") {
            return self.run_lease(asked, &expect);
        }
        let reply = self.ask(asked)?;
        compare(&reply, &expect, instead)
    }

    /// The TTL of a key on a lease is what is left of it, once that is known.
    fn run_lease(&self, asked: &Value, expect: &Value) -> Result<(), String> {
        let full = expect["answer"][0]["ttl"].as_u64().expect("a TTL");
        let mut ttl = 0;
        eventually("the time left on the lease is known", || {
            ttl = self.ask(asked).map_or(0, |reply| reply.answers.first().map_or(0, |r| u64::from(r.ttl)));
            ttl > 1
        });
        if (full - 10..=full).contains(&ttl) { Ok(()) } else { Err(format!("TTL {ttl}, not about {full}")) }
    }

    fn ask(&self, asked: &Value) -> Result<Message, String> {
        let rtype = RecordType::from_str(asked["type"].as_str().expect("a type")).expect("a type");
        let mut message = query(asked["name"].as_str().expect("a name"), rtype);
        if asked["class"] == "CH" {
            message.queries[0].set_query_class(DNSClass::CH);
        }
        message.metadata.truncation = asked["tc"] == true;
        if asked["do"] == true {
            let mut edns = Edns::new();
            edns.set_dnssec_ok(true);
            edns.set_max_payload(
                u16::try_from(asked["edns_udp_size"].as_u64().unwrap_or(512)).expect("a size"),
            );
            message.set_edns(edns);
        }
        if asked["transport"] == "tcp" {
            return Ok(Stream::connect(self.agent.address()).ask(&message));
        }
        let packet = message.to_vec().map_err(|error| error.to_string())?;
        let reply = exchange(self.agent.address(), &packet, support::PATIENCE).ok_or("no reply")?;
        Message::from_vec(&reply).map_err(|error| error.to_string())
    }
}

/// Keys, values and key TTLs, with ports filled in.
fn services(
    case: &Value,
    ports: &BTreeMap<&str, u16>,
    upstream: SocketAddr,
) -> Vec<(String, String, Option<i64>)> {
    let mut services = Vec::new();
    for service in case["services"].as_array().into_iter().flatten() {
        let mut value = service["value"].clone();
        if let Some(port) = value["port"].as_str().map(|name| ports[name]) {
            value["port"] = json!(port);
        }
        // A public name server of 2014; the stand-in takes its place.
        if value["host"] == "199.43.135.53" {
            value["host"] = json!(upstream.ip().to_string());
            value["port"] = json!(upstream.port());
        }
        services.push((
            service["key"].as_str().expect("a key").to_owned(),
            value.to_string(),
            service["ttl"].as_i64(),
        ));
    }
    let template = &case["services_template"];
    if let Some(count) = template["count"].as_u64() {
        for i in 0..count {
            let fill = |text: String| text.replace("{i}", &i.to_string());
            let key = fill(template["key"].as_str().expect("a key").to_owned());
            services.push((key, fill(template["value"].to_string()), None));
        }
    }
    services
}

/// The stand-in for the public DNS of that time.
fn scripted(table: &Value) -> Upstream {
    let records = table["records"].as_array().expect("records").clone();
    Upstream::start(move |query, _| {
        let asked = &query.queries[0];
        let mut owner = asked.name().to_ascii().to_lowercase();
        if owner == "www.example.com." {
            let mut reply = reply_to(query);
            reply.metadata.authoritative = true;
            add(&mut reply, 300, RData::A(rdata::A([192, 0, 2, 80].into())));
            return Some(reply);
        }
        let mut reply = reply_to(query);
        loop {
            let of_owner = |r: &&Value| r["name"] == owner.as_str();
            let found = records
                .iter()
                .filter(of_owner)
                .find(|r| r["type"] == "CNAME" || r["type"] == asked.query_type().to_string());
            let Some(found) = found else { break };
            let data = found["rdata"].as_str().expect("data");
            let name = Name::from_ascii(&owner).expect("a name");
            let rdata = match found["type"].as_str() {
                Some("A") => RData::A(rdata::A(data.parse().expect("an address"))),
                Some("AAAA") => RData::AAAA(rdata::AAAA(data.parse().expect("an address"))),
                _ => RData::CNAME(rdata::CNAME(Name::from_ascii(data).expect("a name"))),
            };
            reply.add_answer(Record::from_rdata(name, 300, rdata));
            if found["type"] != "CNAME" {
                break;
            }
            owner = data.to_owned();
        }
        if reply.answers.is_empty() {
            reply = failure(query, ResponseCode::NXDomain);
            reply.add_authority(soa("miek.nl.", 60, 60));
        }
        Some(reply)
    })
}

fn compare(reply: &Message, expect: &Value, instead: Option<Instead>) -> Result<(), String> {
    let ignored = |what: &str| has(expect, "ignored", what);
    let rcode = rcode_name(reply.metadata.response_code);
    if let Some(Instead::Sections(code, records)) = instead {
        let text = |r: &Record| format!("{} {} {}", r.name, r.record_type(), r.data);
        let mut found: Vec<_> = reply.answers.iter().chain(&reply.additionals).map(text).collect();
        let is_chain = found.iter().all(|record| record.contains(" CNAME "));
        if !is_chain {
            found.sort();
        }
        let is_right = code == rcode && found == records;
        return if is_right { Ok(()) } else { Err(format!("{rcode} {found:?}")) };
    }
    if !ignored("rcode") && expect["rcode"] != rcode {
        return Err(format!("rcode {rcode}, not {}", expect["rcode"]));
    }
    for (flag, is) in [("aa", reply.metadata.authoritative), ("tc", reply.metadata.truncation)] {
        if expect[flag].as_bool().is_some_and(|wanted| wanted != is) {
            return Err(format!("{flag} is {is}"));
        }
    }
    if matches!(instead, Some(Instead::Rcode(_))) {
        return Ok(());
    }
    let sections =
        [("answer", &reply.answers), ("authority", &reply.authorities), ("additional", &reply.additionals)];
    for (section, records) in sections {
        let least = expect[format!("{section}_min")].as_u64().unwrap_or(0);
        if (records.len() as u64) < least {
            return Err(format!("{} records in {section}, not {least}", records.len()));
        }
        let Some(wanted) = expect[section].as_array().filter(|_| !ignored(section)) else { continue };
        // OPT is no record of a section here.
        let (opt, wanted): (Vec<_>, Vec<_>) = wanted.iter().partition(|record| record["type"] == "OPT");
        if !opt.is_empty() && reply.edns.is_none() {
            return Err("no OPT".to_owned());
        }
        let count_matters = !ignored(&format!("{section}.count"));
        if count_matters && wanted.len() != records.len() {
            return Err(format!("{section}: {records:?}"));
        }
        let mut left: Vec<_> = records.iter().collect();
        for record in wanted {
            // In some tests only the first record was looked at.
            let found = left.iter().position(|r| fits(r, record, section, instead));
            match found {
                Some(at) => drop(left.remove(at)),
                None => return Err(format!("{section}: no {record} in {records:?}")),
            }
        }
    }
    Ok(())
}

fn rcode_name(rcode: ResponseCode) -> &'static str {
    match rcode {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::Refused => "REFUSED",
        _ => "another",
    }
}

fn fits(record: &Record, wanted: &Value, section: &str, instead: Option<Instead>) -> bool {
    let ignored = |what: &str| has(wanted, "ignored", what);
    let rtype = wanted["type"] == record.record_type().to_string();
    let is = record.name.to_ascii();
    // The tables write the hash in an owner name of NSEC3 now in large letters, now in small ones.
    let same = wanted["name"].as_str().is_some_and(|name| match record.record_type() {
        RecordType::NSEC3 => name.eq_ignore_ascii_case(&is),
        _ => name == is,
    });
    let name = ignored("name") || same;
    let other_ttls = instead == Some(Instead::OtherTtls);
    let ttl = section != "answer" || other_ttls || wanted["ttl"].is_null() || wanted["ttl"] == record.ttl;
    rtype && name && ttl && (ignored("rdata") || rdata_fits(record, wanted))
}

fn rdata_fits(record: &Record, wanted: &Value) -> bool {
    let text = wanted["rdata"].as_str().expect("data");
    let also = wanted["also"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut accepted = std::iter::once(text).chain(also);
    match &record.data {
        // Of a SOA only MNAME was ever compared.
        RData::SOA(soa) => text.split(' ').next() == Some(soa.mname.to_ascii().as_str()),
        RData::TXT(txt) => {
            let is: String = txt.txt_data.iter().map(|s| String::from_utf8_lossy(s)).collect();
            accepted.any(|text| text.trim_matches('"') == is)
        }
        RData::AAAA(address) => accepted.any(|text| text.parse() == Ok(address.0)),
        RData::Unknown { rdata, .. } => {
            let is = dnssec_words(record.record_type(), &rdata.anything);
            accepted.any(|text| {
                let wanted: Vec<_> = text.split(' ').collect();
                is.iter()
                    .all(|(at, is)| wanted.get(*at).is_some_and(|wanted| wanted.eq_ignore_ascii_case(is)))
            })
        }
        other => accepted.any(|text| text == other.to_string()),
    }
}

/// The words of a DNSSEC record that are compared, each with its place in the text of the record.
fn dnssec_words(rtype: RecordType, data: &[u8]) -> Vec<(usize, String)> {
    let number = |from: usize, to: usize| {
        data[from..to].iter().fold(0u64, |sum, octet| (sum << 8) + u64::from(*octet)).to_string()
    };
    match rtype {
        RecordType::DNSKEY => vec![(0, number(0, 2)), (1, number(2, 3)), (2, number(3, 4))],
        RecordType::RRSIG => {
            let covered = u16::from_be_bytes([data[0], data[1]]);
            let mut words = vec![(0, RecordType::from(covered).to_string()), (1, number(2, 3))];
            words.extend([(2, number(3, 4)), (3, number(4, 8)), (6, number(16, 18))]);
            words
        }
        // The bit map is overruled in every case that has one.
        RecordType::NSEC3 => vec![(4, data_encoding::BASE32HEX_NOPAD.encode(&data[6..26]))],
        other => panic!("no words for {other}"),
    }
}

#[test]
fn units_of_2_5() {
    use skydns::service::{KeyTarget, Keyspace};
    let units = load("msg.json");
    for case in units["path"].as_array().expect("cases") {
        let space = Keyspace::new(case["prefix"].as_str().expect("a prefix"));
        let expected = case["expect"].as_str().expect("a path");
        let Ok(KeyTarget::Service { key, .. }) = space.target_of(expected.as_bytes()) else {
            panic!("{case}")
        };
        assert_eq!(key.name().to_ascii(), case["name"].as_str().expect("a name"));
        assert_eq!(space.path(&key), expected);
    }
    for case in units["group"].as_array().expect("cases") {
        let record = |service: &Value| {
            // The tests write keys leaf first, below "skydns/test"; equal keys get a place of their own.
            let key = service["key"].as_str().expect("a key").trim_end_matches("/skydns/test");
            let path: Vec<_> = key.split('/').rev().collect();
            (format!("/skydns/test/skydns/{}", path.join("/")), service.clone())
        };
        let mut setup = Setup::new().args(&["-domain", "skydns.test.", "-round-robin=false"]);
        let services = case["services"].as_array().expect("services");
        for (n, service) in services.iter().enumerate() {
            let (mut key, value) = record(service);
            let same = services.iter().filter(|other| other["key"] == service["key"]).count() > 1;
            if same {
                key = format!("{key}/{n}");
            }
            let mut value = value;
            // Equal services would count as one.
            value["port"] = json!(n + 1);
            value.as_object_mut().expect("an object").remove("key");
            setup = setup.record(&key, &value.to_string());
        }
        let agent = setup.start();
        let reply = agent.ask("region1.skydns.test.", RecordType::SRV);
        let reply = if reply.answers.is_empty() { agent.ask("skydns.test.", RecordType::SRV) } else { reply };
        let mut kept: Vec<_> = reply
            .answers
            .iter()
            .filter_map(|r| match &r.data {
                RData::SRV(srv) => Some(u64::from(srv.port) - 1),
                _ => None,
            })
            .collect();
        kept.sort_unstable();
        let expected: Vec<_> =
            case["expect"]["kept"].as_array().expect("kept").iter().filter_map(Value::as_u64).collect();
        assert_eq!(kept, expected, "{}", case["id"]);
    }
}
