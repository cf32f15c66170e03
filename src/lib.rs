//! The DNS agent that runs on every host of a site, and the parts to build another.
//!
//! The core (`service`, `tree`, `answer`, `dnssec`, `wire`) knows no socket, no clock and no store: an answer is a
//! function of a question, a tree and the time.
//!
//! ```
//! use hickory_proto::op::Query;
//! use hickory_proto::rr::{Name, RecordType};
//! use skydns::answer::{Externals, Freshness, Dependencies, Outcome, View, Zone, answer};
//! use skydns::service::{Key, Service};
//! use skydns::tree::{Entry, Layer, Tree};
//! use std::str::FromStr;
//!
//! let mut tree = Tree::new();
//! let rails = Key::from_name(&Name::from_str("4.rails.staging.east.skydns.local.")?);
//! let service = Service::from_json(br#"{"host": "10.0.1.125", "port": 8080}"#)?;
//! tree.put(&rails, Layer(0), Entry::new(service));
//!
//! let view = View {
//!     zone: &Zone::new(&Name::from_str("skydns.local.")?),
//!     tree: &tree,
//!     dependencies: &Dependencies::default(),
//!     freshness: Freshness::Current,
//!     now: 1_700_000_000,
//!     seed: 0,
//!     externals: &Externals::new(),
//!     max_records: 4_000,
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

pub mod agent;
pub mod answer;
pub mod cli;
mod clock;
pub mod config;
pub mod dnssec;
pub mod forward;
pub mod heartbeat;
mod lock;
pub mod logging;
pub mod metrics;
pub mod server;
pub mod service;
pub mod source;
pub mod systemd;
pub mod tree;
pub mod wire;
mod wire_name;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
