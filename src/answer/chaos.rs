//! Class CH: what this server says about itself.

use super::outcome::Answer;
use super::site::Site;
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

/// The authors of SkyDNS, whom `authors.bind` has always named.
const AUTHORS: [&str; 4] = ["Erik St. Martin", "Brian Ketelsen", "Miek Gieben", "Michael Crosby"];

/// Answers a question of class CH.
pub(super) fn answer_chaos(query: &Query, site: &Site) -> Answer {
    let Some(identity) = site.identity.as_ref().filter(|_| query.query_type() == RecordType::TXT) else {
        return Answer::refused("nothing is told here");
    };
    let name = query.name().to_ascii().to_ascii_lowercase();
    let texts: &[&str] = match name.as_str() {
        "version.bind." | "version.server." => &[&identity.version],
        "hostname.bind." | "id.server." => &[&identity.hostname],
        "authors.bind." => &AUTHORS,
        _ if site.zones.apex(query.name()).is_some() => &AUTHORS,
        _ => return Answer::refused("nothing is told here"),
    };
    let mut answer = Answer::empty(ResponseCode::NoError);
    for text in texts {
        let txt = RData::TXT(TXT::from_bytes(text.as_bytes().chunks(255).collect()));
        let mut record = Record::from_rdata(query.name().clone(), 0, txt);
        record.dns_class = DNSClass::CH;
        answer.answers.push(record);
    }
    answer
}
