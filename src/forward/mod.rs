//! Forwarding: questions for other domains go to upstreams, whole replies come back.
//!
//! Owns the choice of upstream, failover, the state of each upstream, the response cache, equal questions under way,
//! stub zones and the detection of forwarding loops. Only this room knows hickory-resolver. A forwarded message is a
//! new one: fresh id and port, our own OPT, the client's RD, CD and DO (RFC 5452, RFC 6891 §6.1.1, RFC 3225).
//!
//! The way of a question: `forwarder` → `cache` → `flight` (equal questions share one exchange) → `race` (several
//! upstreams) → `upstream` → `udp_exchange` or `tcp` → `pending_replies` → `message` → `verdict`, and back.
//! `upstream_state` has the rules of what is known of an upstream; `refresh` runs the exchanges that no client waits for.

mod admission;
mod cache;
mod context;
mod edns_state;
mod endpoint;
mod exchange_error;
mod failure;
mod flight;
mod forwarder;
mod health;
mod message;
mod order;
mod pending_replies;
mod pool;
mod probe;
mod query_sockets;
mod race;
mod rebind;
mod refresh;
mod resolv_conf;
mod routes;
mod shape;
mod stub;
mod tcp;
mod udp_exchange;
mod upstream;
mod upstream_state;
mod upstream_summary;
mod verdict;

pub use endpoint::{Endpoint, UpstreamTransport};
pub use forwarder::{ForwardReport, Forwarder, KnownReply, LookedUp, LookupFailed, UpstreamCounts};
pub use resolv_conf::ResolvConf;
pub use routes::{RouteTable, check_server};
pub use shape::read_reply;
pub use stub::{StubKeys, StubTable, StubZone};
pub use upstream::UpstreamReport;
pub use upstream_state::UpstreamCondition;
