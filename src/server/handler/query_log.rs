//! The log of queries (`-verbose`): one line for each, with its result.

use crate::counted::counted;
use crate::logging::QUERIES;
use crate::wire::Transport;
use hickory_proto::op::{Query, ResponseCode};
use std::net::SocketAddr;
use std::time::Duration;

/// Logs a question, who asked it, and what it was answered with, as the octets of the reply say it.
pub(super) fn log(
    question: &Query,
    peer: SocketAddr,
    (reply, transport): (&[u8], Transport),
    took: Duration,
) {
    let how = match transport {
        Transport::Udp { .. } => "udp",
        Transport::Tcp => "tcp",
    };
    let (name, class, rtype) = (question.name(), question.query_class(), question.query_type());
    let (result, ms) = (result(reply), took.as_secs_f64() * 1_000.0);
    log::info!(target: QUERIES, "query {name} {class} {rtype} from {peer} over {how}: {result} in {ms:.1} ms");
}

/// Response code and number of answers, such as `NOERROR, 2 answers`.
fn result(reply: &[u8]) -> String {
    let Some([_, _, flags, code, _, _, answers @ ..]) = reply.first_chunk::<8>() else {
        return "nothing".to_owned();
    };
    // The mnemonic, as dig prints it.
    let code = format!("{:?}", ResponseCode::from(0, code & 0x0f)).to_uppercase();
    let truncated = if flags & 0x02 == 0 { "" } else { ", truncated" };
    format!("{}, {}{truncated}", code, counted(usize::from(u16::from_be_bytes(*answers)), "answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_those_of_the_reply() {
        let with = |flags, code, answers| result(&[0, 1, flags, code, 0, 1, 0, answers, 0, 0, 0, 0]);
        assert_eq!(with(0x84, 0, 2), "NOERROR, 2 answers");
        assert_eq!(with(0x84, 0x83, 0), "NXDOMAIN, 0 answers");
        assert_eq!(with(0x80, 0x82, 1), "SERVFAIL, 1 answer");
        assert_eq!(with(0x82, 5, 0), "REFUSED, 0 answers, truncated");
        assert_eq!(result(&[0; 4]), "nothing");
    }
}
