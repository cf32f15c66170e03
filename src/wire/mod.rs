//! Messages as octets: what is made of a packet that comes in, and how a reply goes out.
//!
//! Owns the rules of header, EDNS and truncation (RFC 1035 §4, RFC 6891, RFC 2181 §9), name compression, and the cache of
//! replies that are sent again. Packets that would let two servers answer each other without end get no reply.

mod answer_chain;
mod cached_reply;
mod client_edns;
mod direct;
mod encode;
mod forwarded;
mod message_reader;
mod names_in_data;
mod question_key;
mod received_reply;
mod record;
mod reply;
mod reply_cache;
mod request;
mod rewrites;
mod rotation;
mod shared_authority;
mod writer;

pub use cached_reply::{CachedReply, Served, Validity};
pub use client_edns::ClientEdns;
pub use direct::{DirectForm, write_directly};
pub use encode::{encode, without_question};
pub use forwarded::{ForwardedRecord, ForwardedRecords, Section};
pub use message_reader::ReadError;
pub use question_key::{MAX_QUESTION_KEY, QuestionKey, question_key};
pub use received_reply::ReceivedReply;
pub use reply::{Reply, Transport};
pub use reply_cache::{CacheHint, Looked, Missed, ReplyCache};
pub use request::{Request, STUB_MARKER, Screened, screen};

/// Octets of a message's header.
pub(crate) const HEADER: usize = 12;

/// Maximum length of a reply over UDP to a client on this host, in octets, whatever the client accepts. The loopback interface
/// takes it in one piece.
pub const MAX_UDP_REPLY: u16 = 4_096;

/// Maximum length of a reply over UDP to any other client, in octets: it crosses every network in one piece (DNS flag day
/// 2020), so that no part of it can be lost or replaced by another.
pub const MAX_UDP_REPLY_BEYOND_HOST: u16 = 1_232;

/// The UDP size we offer in OPT: the greatest that crosses every network whole (DNS flag day 2020).
pub const OWN_UDP_SIZE: u16 = 1232;
