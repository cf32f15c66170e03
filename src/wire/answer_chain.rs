//! The answer section of an upstream as the chain from the question's name to the data: CNAMEs in the order in which they
//! are followed, DNAMEs before the CNAMEs that are made of them, each RRset with its signatures (RFC 1034 §4.3.2, RFC 6672
//! §3.2).
//!
//! Records that are not in the chain are dropped: nobody asked for them, and an upstream may have been made to give them.
//! Some stub resolvers give up on any other order of CNAMEs.

use super::forwarded::{ForwardedRecord, ForwardedRecords, Section};
use crate::wire_name::{is_in_zone, same_name_octets};
use hickory_proto::rr::RecordType;

/// Maximum number of CNAMEs that are followed. Resolvers end chains after 8 to 16.
const MAX_CHAIN: usize = 32;

impl ForwardedRecords {
    /// Brings the answer section into the order of the chain from a name (in wire format) to the data of a type, and drops
    /// what is not in the chain.
    pub fn follow_chain(&mut self, name: &[u8], rtype: RecordType) {
        let positions = {
            let answers: Vec<_> = self.section(Section::Answer).collect();
            let mut chain = Chain { answers: &answers, positions: Vec::with_capacity(answers.len()) };
            chain.follow(name, rtype);
            chain.positions
        };
        self.reorder_answers(&positions);
        self.unify_ttls();
    }

    /// The last name of the chain, which the reply is about: the target of the last CNAME, or else the question's name.
    pub fn chain_end<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        let cnames = self.section(Section::Answer).filter(|record| record.rtype == RecordType::CNAME);
        cnames.filter_map(|record| record.target()).last().unwrap_or(name)
    }
}

/// A chain that is being followed.
struct Chain<'a> {
    answers: &'a [ForwardedRecord<'a>],
    /// Positions of the records of the chain.
    positions: Vec<usize>,
}

impl<'a> Chain<'a> {
    fn follow(&mut self, mut name: &'a [u8], rtype: RecordType) {
        for _ in 0..=MAX_CHAIN {
            self.add_dname_above(name);
            if self.add_rrset(name, rtype) {
                return;
            }
            let cname = self
                .position(|record| record.rtype == RecordType::CNAME && same_name_octets(record.owner, name));
            // A CNAME that comes a second time leads in a circle.
            let Some(at) = cname.filter(|at| !self.positions.contains(at)) else { return };
            self.positions.push(at);
            self.add_signatures(name, RecordType::CNAME);
            let Some(target) = self.answers[at].target() else { return };
            name = target;
        }
    }

    fn position(&self, is_it: impl Fn(&ForwardedRecord<'a>) -> bool) -> Option<usize> {
        self.answers.iter().position(is_it)
    }

    /// Adds the records of a name that answer a question for a type, with their signatures; returns whether there are any.
    fn add_rrset(&mut self, name: &[u8], rtype: RecordType) -> bool {
        let before = self.positions.len();
        // Types 250 to 255 ask for several types, but for OPT (RFC 6895 §3.1).
        let is_any = matches!(u16::from(rtype), 250..=255);
        self.add_all(|record| same_name_octets(record.owner, name) && (is_any || record.rtype == rtype));
        let found = self.positions.len() > before;
        if found && !is_any && rtype != RecordType::RRSIG {
            self.add_signatures(name, rtype);
        }
        found
    }

    /// Adds the DNAME that a name is below, the closest of several, with its signatures.
    fn add_dname_above(&mut self, name: &[u8]) {
        let dnames = self.answers.iter().enumerate().filter(|(_, record)| {
            record.rtype == RecordType::DNAME
                && record.owner.len() < name.len()
                && is_in_zone(name, record.owner)
        });
        let Some((at, dname)) = dnames.max_by_key(|(_, record)| record.owner.len()) else { return };
        if !self.positions.contains(&at) {
            self.positions.push(at);
            self.add_signatures(dname.owner, RecordType::DNAME);
        }
    }

    /// Adds the signatures of an RRset.
    fn add_signatures(&mut self, owner: &[u8], rtype: RecordType) {
        self.add_all(|record| record.type_covered() == Some(rtype) && same_name_octets(record.owner, owner));
    }

    fn add_all(&mut self, is_one: impl Fn(&ForwardedRecord<'a>) -> bool) {
        let answers = self.answers.iter().enumerate();
        self.positions.extend(answers.filter(|(_, record)| is_one(record)).map(|(at, _)| at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Reply;
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::rdata::{A, CNAME, NULL};
    use hickory_proto::rr::{Name, RData, Record};

    fn name(text: &str) -> Name {
        Name::from_ascii(format!("{text}.example.org.")).expect("a name")
    }

    fn octets(text: &str) -> Vec<u8> {
        let mut octets = Vec::new();
        name(text).iter().for_each(|label| crate::wire_name::push_label(&mut octets, label));
        octets.push(0);
        octets
    }

    /// A record out of its text: owner, type, data. `sig A` is a signature for A.
    fn record(text: &str) -> Record {
        let words: Vec<_> = text.split_whitespace().collect();
        let unknown =
            |code: u16, octets: Vec<u8>| RData::Unknown { code: code.into(), rdata: NULL::with(octets) };
        let data = match words[1..] {
            ["A", last] => RData::A(A([192, 0, 2, last.parse().expect("an octet")].into())),
            ["CNAME", target] => RData::CNAME(CNAME(name(target))),
            ["DNAME", target] => unknown(39, self::octets(target)),
            ["TXT"] => unknown(16, vec![1, b'x']),
            ["sig", rtype] => {
                let code = rtype.parse::<RecordType>().expect("a type");
                unknown(46, u16::from(code).to_be_bytes().to_vec())
            }
            _ => panic!("{text}"),
        };
        Record::from_rdata(name(words[0]), 60, data)
    }

    /// The positions of the records that are left, and the end of the chain from `q`.
    fn follow(rtype: RecordType, records: &[&str]) -> (Vec<String>, Vec<u8>) {
        let mut reply = Reply::empty(ResponseCode::NoError);
        reply.answers = records.iter().map(|text| record(text)).collect();
        let mut forwarded = reply.forwarded().forwarded.expect("records");
        let before: Vec<_> = forwarded.iter().map(|r| (r.owner.to_vec(), r.rtype, r.data.to_vec())).collect();
        let q = octets("q");
        forwarded.follow_chain(&q, rtype);
        let left = forwarded.iter().map(|r| {
            let is_it = |b: &&(Vec<u8>, RecordType, Vec<u8>)| {
                (b.0.as_slice(), b.1, b.2.as_slice()) == (r.owner, r.rtype, r.data)
            };
            let at = before.iter().enumerate().find(|(_, b)| is_it(b)).map(|(at, _)| at);
            records[at.expect("one of them")].to_owned()
        });
        (left.collect(), forwarded.chain_end(&q).to_vec())
    }

    #[test]
    fn cnames_come_in_the_order_in_which_they_are_followed() {
        let (left, end) = follow(RecordType::A, &["z A 1", "y CNAME z", "z A 2", "x CNAME y", "q CNAME x"]);
        assert_eq!(left, ["q CNAME x", "x CNAME y", "y CNAME z", "z A 1", "z A 2"]);
        assert_eq!(end, octets("z"));
    }

    #[test]
    fn signatures_stand_behind_what_they_are_for() {
        let records = ["z sig A", "q sig CNAME", "z A 1", "q CNAME z", "q sig A", "z sig TXT"];
        let (left, _) = follow(RecordType::A, &records);
        assert_eq!(left, ["q CNAME z", "q sig CNAME", "z A 1", "z sig A"]);
    }

    #[test]
    fn what_is_not_in_the_chain_is_dropped() {
        let (left, end) =
            follow(RecordType::A, &["q A 1", "other A 2", "q TXT", "bank CNAME q", "q CNAME other"]);
        assert_eq!((left, end), (vec!["q A 1".to_owned()], octets("q")));
        assert_eq!(follow(RecordType::A, &["other A 1"]), (vec![], octets("q")));
        let (left, end) = follow(RecordType::TXT, &["q CNAME a", "a CNAME b", "c A 1"]);
        assert_eq!((left.len(), end), (2, octets("b")), "a chain without data");
    }

    #[test]
    fn a_chain_ends_where_it_leads_in_a_circle_or_is_too_long() {
        let (left, _) = follow(RecordType::A, &["q CNAME a", "a CNAME q"]);
        assert_eq!(left, ["q CNAME a", "a CNAME q"]);
        let (left, _) = follow(RecordType::A, &["q CNAME q"]);
        assert_eq!(left, ["q CNAME q"]);
        let (left, _) = follow(RecordType::A, &["q CNAME a", "q CNAME b", "b A 1"]);
        assert_eq!(left, ["q CNAME a"], "a name has one CNAME");
        let mut long = vec!["q CNAME n0".to_owned()];
        long.extend((0..60).map(|n| format!("n{n} CNAME n{}", n + 1)));
        let long: Vec<_> = long.iter().map(String::as_str).collect();
        assert_eq!(follow(RecordType::A, &long).0.len(), MAX_CHAIN + 1);
    }

    #[test]
    fn a_dname_stands_before_the_cname_that_is_made_of_it() {
        let records = ["a.z A 1", "a.q CNAME a.z", "q sig DNAME", "q DNAME z", "example DNAME x"];
        let mut reply = Reply::empty(ResponseCode::NoError);
        reply.answers = records.iter().map(|text| record(text)).collect();
        let mut forwarded = reply.forwarded().forwarded.expect("records");
        forwarded.follow_chain(&octets("a.q"), RecordType::A);
        let types: Vec<_> = forwarded.iter().map(|record| u16::from(record.rtype)).collect();
        assert_eq!(types, [39, 46, 5, 1]);
        assert_eq!(follow(RecordType::DNAME, &["q DNAME z", "q A 1"]).0, ["q DNAME z"], "asked for itself");
    }

    #[test]
    fn all_records_of_the_name_answer_a_question_for_any_type() {
        let records = ["q TXT", "q A 1", "q sig A", "other A 2"];
        assert_eq!(follow(RecordType::ANY, &records).0, ["q TXT", "q A 1", "q sig A"]);
        assert_eq!(follow(RecordType::RRSIG, &records).0, ["q sig A"]);
        assert_eq!(follow(RecordType::CNAME, &["q CNAME a", "a CNAME b"]).0, ["q CNAME a"]);
    }
}
