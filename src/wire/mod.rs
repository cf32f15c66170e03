//! Messages as octets: what is made of a packet that comes in, and how a reply goes out.
//!
//! Owns the rules of header, EDNS and truncation (RFC 1035 §4, RFC 6891, RFC 2181 §9), name compression, and the cache of
//! replies that are sent again. Packets that would let two servers answer each other without end get no reply.

mod cached_reply;
mod client_edns;
mod encode;
mod question_key;
mod reply;
mod reply_cache;
mod request;
mod rewrites;
mod shared_authority;
mod writer;

pub use cached_reply::{CachedReply, Validity};
pub use client_edns::ClientEdns;
pub use encode::{encode, without_question};
pub use question_key::{MAX_QUESTION_KEY, QuestionKey, question_key};
pub use reply::{Reply, Transport};
pub use reply_cache::{CacheHint, ReplyCache};
pub use request::{Request, STUB_MARKER, Screened, screen};

/// Octets of a message's header.
pub(crate) const HEADER: usize = 12;

/// Maximum length of a reply over UDP, in octets, whatever the client accepts: more crosses no network in one piece, and a
/// query with a forged address must not cause more traffic to its victim.
pub(crate) const MAX_UDP_REPLY: u16 = 4_096;

/// The UDP size we offer in OPT: the greatest that crosses every network whole (DNS flag day 2020).
pub const OWN_UDP_SIZE: u16 = 1232;
