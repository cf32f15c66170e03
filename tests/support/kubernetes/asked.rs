//! The cases, asked of an agent.

use super::cases::Case;
use crate::support::Agent;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};

/// What a case says of the answer to its question.
pub fn said(agent: &Agent, name: &str, rtype: RecordType) -> String {
    let answer = agent.ask(name, rtype);
    let is_cname = |data: &RData| matches!(data, RData::CNAME(_));
    let mut data: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    let is_chain = answer.answers.first().is_some_and(|record| is_cname(&record.data));
    let is_end = answer.answers.last().is_none_or(|record| is_cname(&record.data));
    if !is_chain {
        data.sort_unstable();
    }
    let end = match answer.response_code {
        ResponseCode::NoError if is_end && !answer.authorities.is_empty() => " NODATA",
        ResponseCode::NoError => "",
        ResponseCode::NXDomain => " NXDOMAIN",
        ResponseCode::Refused => "FORWARD",
        ResponseCode::ServFail => "SERVFAIL",
        other => panic!("{name}: {other}"),
    };
    format!("{}{end}", data.join(" | ")).trim_start().to_owned()
}

/// Asks all cases.
pub fn check(agent: &Agent, cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let found = said(agent, &case.name, case.rtype.parse().expect(case.rtype));
        // Nobody is asked for names of others here.
        let is_forwarded = case.answer.starts_with("FORWARD") && matches!(&*found, "FORWARD" | "NODATA");
        if found != case.answer && !is_forwarded {
            wrong.push(format!("{} {}: {found}, and not {}", case.name, case.rtype, case.answer));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), agent.log());
}
