//! Messages as octets: what is made of a packet that comes in, and how an answer goes out.
//!
//! Owns header rules, EDNS(0) and truncation (RFC 1035 §4, RFC 6891, RFC 2181 §9). Packets that would
//! let two servers talk to each other for ever get no reply.

mod cached_reply;
mod encode;
mod question_key;
mod reply;
mod reply_cache;
mod request;
mod rewrites;
mod shared_authority;
mod writer;

pub use cached_reply::{CachedReply, Validity};
pub use encode::{encode, header_only};
pub use question_key::{MAX_QUESTION_KEY, QuestionKey, question_key};
pub use reply::{Reply, Transport};
pub use reply_cache::{CacheHint, ReplyCache};
pub use request::{ClientEdns, Request, STUB_MARKER, Screened, screen};

/// Octets of a message's header.
pub(crate) const HEADER: usize = 12;

/// The largest reply over UDP, whatever the client takes: more is never one datagram's worth on a network,
/// and a spoofed question must not be worth more to its sender.
pub(crate) const MOST_UDP: u16 = 4_096;

/// The UDP size we offer in OPT: the greatest that crosses every network whole (DNS flag day 2020).
pub const OWN_UDP_SIZE: u16 = 1232;
