//! The DNS server: packets in, replies out, over UDP and TCP.
//!
//! Owns the sockets and connections of clients, and the three paths of a query. The fast path sends a cached reply. The full
//! path answers without waiting, on the worker that received the query. The slow path, on the runtime, finishes queries that
//! wait for upstreams or for more than one signature. A fault in one query is that query's SERVFAIL.

mod client_policy;
mod connections;
mod costly;
mod costly_time;
mod datagrams;
mod fast_path;
#[cfg(any(test, all(debug_assertions, not(fuzzing))))]
mod fault;
mod handler;
#[doc(hidden)]
pub mod harness;
mod holders;
mod interfaces;
mod limit;
mod listen;
mod listener;
mod origin;
mod own_socket;
mod plain;
mod probe;
mod slow_path;
mod tcp;
mod udp;

pub use client_policy::ClientPolicy;
pub use connections::Connections;
pub use costly::CostlyThreads;
pub use handler::{Handled, Handler, PendingQuery};
pub use holders::{PortHolder, holders};
pub use listen::{BindError, BoundSockets, bind};
pub use listener::Listener;
pub use own_socket::own_addresses;
pub use plain::{PlainClient, PlainPolicy, Rights, receive_plain};
pub use probe::{NoReply, Probe, answers_at, rcode_at};
pub use slow_path::{SlowPath, slow_paths};
pub use tcp::serve as serve_tcp;
pub use udp::{UdpWorkers, spawn as spawn_udp};
