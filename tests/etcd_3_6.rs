//! The tests of the v3 API once more, with an etcd 3.6 that is built from its Go module; where Go is not there, with the system's.

#[path = "etcd.rs"]
mod with_3_6;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use with_3_6::support::etcd::{Etcd, is_built};
use with_3_6::support::{Setup, eventually};

#[test]
fn auto_finds_that_there_is_no_v2() {
    if !is_built() {
        return;
    }
    let etcd = Etcd::start();
    let agent = Setup::new().args(&["-machines", &etcd.endpoint()]).start();
    eventually("it is told", || agent.log().contains("etcd-v2: not used: "));
    assert!(agent.log().contains("etcd has no v2 API there"), "{}", agent.log());
    eventually("denied", || {
        agent.ask("a.skydns.local.", RecordType::A).metadata.response_code == ResponseCode::NXDomain
    });
    etcd.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    eventually("known", || agent.data("a.skydns.local.", RecordType::A) == ["10.0.0.1"]);
    assert!(!agent.log().contains("warning"), "{}", agent.log());
}
