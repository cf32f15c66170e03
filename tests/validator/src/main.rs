//! Asks a server the questions on standard input, a name and the number of a type on each line, and prints what
//! hickory's validator says of each answer: `secure RCODE`, or why not.
//!
//!     validator ADDRESS ANCHORS < QUESTIONS
//!
//! ANCHORS is a file of DNSKEY records: all keys of the zone, as no parent has a DS for them.

use hickory_net::client::Client;
use hickory_net::dnssec::DnssecDnsHandle;
use hickory_net::proto::dnssec::{Proof, TrustAnchors};
use hickory_net::proto::op::{DnsRequestOptions, DnsResponse, Query};
use hickory_net::proto::rr::{Name, RecordType};
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::xfer::{DnsHandle, FirstAnswer};
use std::error::Error;
use std::io::{BufRead, stdin};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, address, anchors] = args.as_slice() else {
        return Err("usage: validator ADDRESS ANCHORS".into());
    };
    let address: SocketAddr = address.parse()?;
    let anchors = Arc::new(TrustAnchors::from_file(Path::new(anchors))?);
    let provider = TokioRuntimeProvider::new();
    let (stream, sender) = TcpClientStream::new(address, None, Some(PATIENCE), provider);
    let (client, background) = Client::<TokioRuntimeProvider>::with_timeout(stream.await?, sender, PATIENCE);
    tokio::spawn(background);
    let validator = DnssecDnsHandle::with_trust_anchor(client, anchors);
    for line in stdin().lock().lines() {
        let line = line?;
        let (name, rtype) = line.split_once(' ').ok_or("a question is a name and the number of a type")?;
        let mut name = Name::from_ascii(name)?;
        name.set_fqdn(true);
        let rtype = RecordType::from(rtype.parse::<u16>()?);
        let options = DnsRequestOptions::default();
        match validator.lookup(Query::query(name, rtype), options).first_answer().await {
            Ok(response) => println!("{}", verdict(&response)),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}

/// What counts is in the answer and the authority section; ADDITIONAL may hold what others said.
fn verdict(response: &DnsResponse) -> String {
    let records = response.answers.iter().chain(&response.authorities);
    // Of several signatures only the one that was looked at is judged.
    let mut doubtful = records.filter(|r| r.record_type() != RecordType::RRSIG && r.proof != Proof::Secure);
    match doubtful.next() {
        _ if response.answers.is_empty() && response.authorities.is_empty() => "nothing to judge".to_owned(),
        Some(record) => format!("{}: {record}", record.proof),
        None => format!("secure {:?}", response.response_code),
    }
}
