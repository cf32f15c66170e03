//! What is asked, and the services that the answers come from.

use super::world::ODD_DATA;

/// Addresses at one name: too many for UDP, and as many as BIND takes.
pub const WIDE: u8 = 90;

/// A question that clients are given.
pub struct Question {
    /// What it is an example of.
    pub what: &'static str,
    pub name: String,
    /// The name of its type, or `ADDR` for addresses of both families.
    pub rtype: &'static str,
}

/// Types by name.
const TYPES: [(&str, u16); 17] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DS", 43),
    ("DNSKEY", 48),
    ("CSYNC", 62),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("CAA", 257),
    ("TYPE65280", 65_280),
];

impl Question {
    /// The number of the type.
    pub fn number(&self) -> u16 {
        TYPES.iter().find(|(name, _)| *name == self.rtype).map_or(1, |(_, number)| *number)
    }

    /// The address that a name of a reverse zone stands for; a dash for other names.
    pub fn address(&self) -> String {
        let Some(labels) = self.name.strip_suffix(".in-addr.arpa") else { return "-".to_owned() };
        labels.split('.').rev().collect::<Vec<_>>().join(".")
    }

    pub fn text(&self) -> String {
        format!("{} {}", self.rtype, self.name)
    }
}

/// Names of the domain, with the types that are asked for there.
const OWN: [(&str, &str, &[&str]); 24] = [
    ("an address", "one", &["A", "AAAA", "ADDR", "CNAME", "SRV", "MX", "TXT", "HTTPS"]),
    ("an IPv6 address", "six", &["A", "AAAA", "ADDR"]),
    ("several addresses", "web", &["A", "AAAA", "ADDR", "SRV"]),
    ("a name inside alone", "alias", &["A", "AAAA", "ADDR", "CNAME", "MX", "SRV"]),
    ("a name outside alone", "out", &["A", "AAAA", "ADDR", "CNAME"]),
    ("a chain inside", "c1", &["A", "AAAA", "ADDR", "CNAME"]),
    ("a chain to outside", "o1", &["A", "AAAA", "ADDR", "CNAME"]),
    ("addresses and names", "mixed", &["A", "AAAA", "ADDR", "CNAME", "SRV"]),
    ("several names", "names", &["A", "AAAA", "ADDR", "CNAME"]),
    ("an address and a name that does not exist", "partly", &["A", "AAAA", "ADDR"]),
    ("a name inside that does not exist", "dangling", &["A", "AAAA", "ADDR", "CNAME"]),
    ("a name outside that does not exist", "danglingout", &["A", "AAAA", "ADDR", "CNAME"]),
    ("a name outside with other records beside", "stray", &["A", "AAAA", "ADDR"]),
    ("a chain outside in no order", "unordered", &["A", "AAAA", "ADDR"]),
    ("no such name", "none", &["A", "AAAA", "ADDR", "SRV", "MX", "TXT"]),
    ("below a service", "x.one", &["A", "ADDR"]),
    ("text alone", "text", &["TXT", "A", "AAAA", "ADDR"]),
    ("long text", "long", &["TXT"]),
    ("text over TCP", "huge", &["TXT"]),
    ("services", "srv", &["SRV"]),
    ("services with protocol", "_sip._tcp", &["SRV"]),
    ("mail", "mail", &["MX", "A"]),
    ("addresses over TCP", "wide", &["A", "ADDR"]),
    ("a name beyond ASCII", "xn--bcher-kva", &["A", "ADDR"]),
];

/// Names of elsewhere.
const ELSEWHERE: [(&str, &str, &[&str]); 17] = [
    ("forwarded", "www.example.org", &["A", "AAAA", "ADDR", "MX", "HTTPS"]),
    ("forwarded, several", "several.example.org", &["A", "ADDR"]),
    ("forwarded, a chain", "alias.example.org", &["A", "AAAA", "ADDR", "CNAME"]),
    ("forwarded, a dangling chain", "dangling.example.org", &["A", "ADDR"]),
    ("forwarded, a chain in order", "forwards.odd.example", &["A", "AAAA", "ADDR"]),
    ("forwarded, a chain in no order", "backwards.odd.example", &["A", "AAAA", "ADDR"]),
    ("forwarded, no such name", "nowhere.example.org", &["A", "AAAA", "ADDR", "MX"]),
    ("forwarded, services", "_sip._tcp.example.org", &["SRV"]),
    ("forwarded, mail", "example.org", &["MX", "NS", "SOA"]),
    ("forwarded, long text", "text.example.org", &["TXT"]),
    ("forwarded, over TCP", "big.example.org", &["A", "ADDR"]),
    ("forwarded, no upstream can", "servfail.odd.example", &["A", "ADDR"]),
    ("own PTR", "1.0.0.10.in-addr.arpa", &["PTR"]),
    ("foreign PTR", "80.2.0.192.in-addr.arpa", &["PTR"]),
    ("no such PTR", "81.2.0.192.in-addr.arpa", &["PTR"]),
    ("below ndots", "single", &["A", "AAAA", "ADDR"]),
    ("localhost", "localhost", &["A", "AAAA", "ADDR"]),
];

/// What resolvers in front ask for themselves, and what only they can ask for.
const FOR_RESOLVERS: [(&str, &str, &[&str]); 4] = [
    ("the root", "", &["NS", "SOA", "DNSKEY"]),
    ("a top-level domain", "example", &["NS", "SOA", "DS", "DNSKEY"]),
    ("a signed domain", "example.org", &["DS", "DNSKEY"]),
    ("an unsigned domain", "odd.example", &["DS"]),
];

fn each(rows: &[(&'static str, &'static str, &[&'static str])], domain: &str) -> Vec<Question> {
    let of_row = |(what, name, types): &(&'static str, &'static str, &[&'static str])| {
        let name = if domain.is_empty() { (*name).to_owned() } else { format!("{name}.{domain}") };
        types.iter().map(|rtype| Question { what, name: name.clone(), rtype }).collect::<Vec<_>>()
    };
    rows.iter().flat_map(of_row).collect()
}

/// All that any client is asked.
pub fn for_all(domain: &str) -> Vec<Question> {
    [each(&OWN, domain), each(&ELSEWHERE, "")].into_iter().flatten().collect()
}

/// The same, and what resolvers alone are asked.
pub fn for_resolvers(domain: &str) -> Vec<Question> {
    let mut questions = for_all(domain);
    questions.retain(|question| question.rtype != "ADDR");
    questions.extend(each(&FOR_RESOLVERS, ""));
    for rtype in ["NS", "SOA", "DNSKEY", "DS"] {
        questions.push(Question { what: "the apex", name: domain.to_owned(), rtype });
    }
    for (label, rtype, _) in ODD_DATA {
        let name = format!("{label}.odd.example");
        questions.push(Question { what: "forwarded, odd data", name, rtype });
    }
    questions
}

/// Keys and values of the store.
pub fn services(domain: &str) -> Vec<(String, String)> {
    let path: Vec<_> = domain.split('.').rev().collect();
    let path = path.join("/");
    let mut services =
        vec![("/skydns/arpa/in-addr/10/0/0/1".to_owned(), format!(r#"{{"host":"one.{domain}"}}"#))];
    let mut put = |key: &str, value: String| services.push((format!("/skydns/{path}/{key}"), value));
    let host = |host: &str| format!(r#"{{"host":"{}"}}"#, host.replace('@', domain));
    for (key, to) in [
        ("six", "2001:db8::1"),
        ("web/a", "10.0.0.1"),
        ("web/b", "10.0.0.2"),
        ("web/c", "10.0.0.3"),
        ("web/d", "2001:db8::2"),
        ("alias", "one.@"),
        ("out", "www.example.org"),
        ("c1", "c2.@"),
        ("c2", "c3.@"),
        ("c3", "one.@"),
        ("o1", "out.@"),
        ("mixed/a", "10.0.0.1"),
        ("mixed/b", "10.0.0.2"),
        ("mixed/c", "www.example.org"),
        ("mixed/d", "six.@"),
        ("names/a", "one.@"),
        ("names/b", "www.example.org"),
        ("partly/a", "10.0.0.1"),
        ("partly/b", "nowhere.example.org"),
        ("dangling", "nowhere.@"),
        ("danglingout", "nowhere.example.org"),
        ("stray", "beside.odd.example"),
        ("unordered", "backwards.odd.example"),
        ("dns/ns", "127.0.0.1"),
        ("bücher", "10.0.0.9"),
    ] {
        put(key, host(to));
    }
    put("one", r#"{"host":"10.0.0.1","port":8080}"#.to_owned());
    put("text", r#"{"text":"hello"}"#.to_owned());
    put("long", format!(r#"{{"text":"{}"}}"#, "abcdefghij".repeat(30)));
    put("huge", format!(r#"{{"text":"{}"}}"#, "klmnopqrst".repeat(200)));
    for key in ["srv", "_tcp/_sip"] {
        put(&format!("{key}/a"), r#"{"host":"10.0.0.1","port":5060}"#.to_owned());
        put(&format!("{key}/b"), r#"{"host":"www.example.org","port":5061}"#.to_owned());
        put(&format!("{key}/c"), format!(r#"{{"host":"six.{domain}","port":5062}}"#));
    }
    put("mail/a", r#"{"host":"10.0.0.2","mail":true}"#.to_owned());
    put("mail/b", r#"{"host":"www.example.org","mail":true,"priority":20}"#.to_owned());
    for n in 0..WIDE {
        put(&format!("wide/{n}"), format!(r#"{{"host":"10.1.0.{n}"}}"#));
    }
    services
}
