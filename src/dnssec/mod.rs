//! DNSSEC: keys, signatures and proofs of absence for the site's own names.
//!
//! Owns what the files of a key mean, which key signs which RRset at a time, the signatures, and the proofs of absence
//! (RFC 4033–4035, RFC 5155, RFC 9824). Like all of the core it knows no clock and no file: time and contents of files are
//! arguments. Validates nothing: signatures of other zones are not looked at.

mod algorithm;
mod bitmap;
mod canonical;
mod compact;
mod denial;
mod encloser_cache;
mod generate;
mod key_error;
mod key_file;
mod key_set;
mod key_state;
mod key_times;
mod public_key;
mod raw_rdata;
mod signatures;
mod signer;
mod signers;
mod signing_key;

pub use algorithm::Algorithm;
pub use denial::DenialKind;
pub use generate::NewKey;
pub use key_error::KeyError;
pub use key_file::{Key, KeyFiles, read_public};
pub use key_set::KeySet;
pub use key_state::KeyState;
pub use key_times::KeyTimes;
pub use public_key::{DsDigest, PublicKey};
pub use signatures::{SignatureCache, SigningError};
pub use signer::Signer;
pub use signer::sign::{SigningOutcome, SigningRequest, UnsignedAnswer};
pub use signers::{AnswerKeys, Signers};
pub use signing_key::SignError;
