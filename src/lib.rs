//! The DNS agent that runs on every host of a site, as a program and as a library.
//!
//! The library's API is the core: it knows no socket, no clock and no store, so an answer is a function of a question, a
//! tree and the time.
//!
//! * [`service`]: a service as the store holds it: the JSON value, and the key that is its name.
//! * [`tree`]: all services of the site by name, as an immutable value that one writer replaces.
//! * [`answer`]: authoritative answers: a question and a tree in, records out.
//! * [`dnssec`]: keys, signatures and denial of existence for the site's own names.
//! * [`wire`]: messages as octets: parsing queries, writing replies, caching them.
//!
//! The other modules make the program out of it, and are no API: `source` mirrors stores into the tree, `forward` asks
//! upstreams, `server` owns the sockets of clients, `config` reads settings, `metrics` and `logging` say what happens,
//! `systemd` speaks to the supervisor, `heartbeat` shows what stalls, `agent` puts all of this together, `rescue` answers while
//! the agent keeps ending, and `cli` is the command line.
//!
//! ```
//! use hickory_proto::op::Query;
//! use hickory_proto::rr::{Name, RecordType};
//! use skydns::answer::{Externals, SiteFreshness, Dependencies, Made, Outcome, Site, View, WORK_OF_ANSWER, Zone, answer};
//! use skydns::service::{Key, Service};
//! use skydns::tree::{Entry, Layer, Tree, Work};
//! use std::str::FromStr;
//! use std::sync::Arc;
//!
//! let mut tree = Tree::new();
//! let rails = Key::from_name(&Name::from_str("4.rails.staging.east.skydns.local.")?);
//! let service = Service::from_json(br#"{"host": "10.0.1.125", "port": 8080}"#)?;
//! tree.put(&rails, Layer(0), Entry::new(service));
//!
//! let view = View {
//!     site: &Arc::new(Site::new(Zone::new(&Name::from_str("skydns.local.")?))),
//!     tree: &tree,
//!     dependencies: &Dependencies::default(),
//!     freshness: &SiteFreshness::default(),
//!     now: 1_700_000_000,
//!     seed: 0,
//!     externals: &Externals::new(),
//!     made: &Made::default(),
//!     max_records: 4_000,
//!     work: &Work::new(WORK_OF_ANSWER),
//!     forwards: true,
//!     dnssec: None,
//! };
//! let question = Query::query(Name::from_str("staging.east.skydns.local.")?, RecordType::SRV);
//! let Outcome::Answered(answer) = answer(&question, &view) else { panic!("nothing to look up") };
//! assert_eq!(
//!     answer.answers[0].to_string(),
//!     "staging.east.skydns.local. 3600 IN SRV 10 100 8080 4.rails.staging.east.skydns.local.",
//! );
//! assert_eq!(answer.additionals[0].to_string(), "4.rails.staging.east.skydns.local. 3600 IN A 10.0.1.125");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod answer;
pub mod dnssec;
pub mod service;
pub mod tree;
pub mod wire;

#[doc(hidden)]
pub mod agent;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod forward;
#[doc(hidden)]
pub mod heartbeat;
#[doc(hidden)]
pub mod logging;
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod rescue;
#[doc(hidden)]
pub mod server;
#[doc(hidden)]
pub mod source;
#[doc(hidden)]
pub mod systemd;

mod client_id;
mod clock;
mod counted;
mod guard;
mod host_resolver;
mod lock;
mod regular_file;
mod replace_file;
mod shown;
mod wire_name;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
