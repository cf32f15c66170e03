//! Signing of one answer of our own: on the thread that made it, or on threads for signatures.

use super::inputs::AnswerInputs;
use super::{ClientQuery, Handler};
use crate::answer::{Answer, DnssecView, Ede, TypeCache};
use crate::config::Config;
use crate::dnssec::{AnswerKeys, SigningError, SigningOutcome, SigningRequest, UnsignedAnswer};
use crate::wire::{Reply, Request};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the signatures of one answer may take, the wait for threads included.
const SIGNING_TIMEOUT: Duration = Duration::from_secs(4);

/// How long signing takes, at least, if a signature of RSA is made.
const COSTLY_SIGNATURE: Duration = Duration::from_micros(200);

/// The keys that an answer is made and signed with, whatever changes meanwhile.
#[derive(Debug)]
pub(super) struct ClientKeys {
    keys: AnswerKeys,
    dnssec_ok: bool,
}

/// What came of signing.
pub(super) enum Signed {
    /// The reply can be sent, and again until this time (Unix time, in seconds).
    Complete(Reply, u64),
    /// It takes more signatures than a worker makes.
    Unfinished(Box<UnsignedAnswer>),
}

impl ClientKeys {
    /// What the answer needs to know of the keys.
    pub(super) fn view<'a>(&'a self, type_cache: &'a TypeCache) -> DnssecView<'a> {
        let Self { keys, dnssec_ok } = self;
        DnssecView { keys, dnssec_ok: *dnssec_ok, compact: keys.is_compact(), type_cache }
    }

    /// Whether an answer is to be signed. Denials are signed with DO only, whatever was asked for.
    fn signs(&self, answer: &Answer, request: &Request) -> bool {
        self.dnssec_ok && !answer.too_large && (request.dnssec_ok() || !answer.answers.is_empty())
    }
}

impl Handler {
    /// The keys to answer with; `None` if no zone is signed, or if the answer does not depend on them.
    pub(super) fn keys(&self, query: &ClientQuery, inputs: &AnswerInputs<'_>) -> Option<ClientKeys> {
        let Config { site, signers, .. } = inputs.config;
        // Signatures that are asked for are given without DO as well (RFC 4035 §3.1).
        let dnssec_ok = query.request.dnssec_ok() || query.rtype() == RecordType::RRSIG;
        // Without DO only an apex has records of DNSSEC. All other questions spare the counter that workers share.
        if signers.is_empty() || (!dnssec_ok && site.zones.apex(query.name()).is_none()) {
            return None;
        }
        let keys = AnswerKeys::new(Arc::clone(site), Arc::clone(signers), inputs.now);
        Some(ClientKeys { keys, dnssec_ok })
    }

    /// Signs an answer of ours if the client wants that, with as many fresh signatures as the effort allows.
    pub(super) fn sign(
        &self,
        query: &ClientQuery,
        keys: Option<ClientKeys>,
        answer: Answer,
        inputs: &AnswerInputs<'_>,
    ) -> Signed {
        let until = keys.as_ref().map_or(u64::MAX, |keys| keys.keys.until());
        let Some(ClientKeys { keys, .. }) = keys.filter(|keys| keys.signs(&answer, &query.request)) else {
            return Signed::Complete(answer.into(), until);
        };
        let request = &query.request;
        let signing = SigningRequest {
            rtype: request.query.query_type(),
            compact_ok: request.compact_ok(),
            max_reply_octets: query.transport.limit(),
        };
        let compact = request.compact_ok() && keys.is_compact();
        match self.sign_in_time(keys, answer, signing, inputs.effort.fresh_signatures) {
            Ok(SigningOutcome::Signed { answer, until }) => {
                Signed::Complete(Reply { compact, ..answer.into() }, until)
            }
            Ok(SigningOutcome::Unfinished(answer)) => Signed::Unfinished(answer),
            Err(error) => Signed::Complete(self.refuse_unsigned(query, &error), 0),
        }
    }

    /// Signs an answer with as many fresh signatures as a thread makes; with keys of RSA, a worker makes one only while it has
    /// time for costly work.
    fn sign_in_time(
        &self,
        keys: AnswerKeys,
        answer: Answer,
        request: SigningRequest,
        max_fresh: usize,
    ) -> Result<SigningOutcome, SigningError> {
        if max_fresh == 0 || !keys.sign_slowly() {
            return keys.sign(answer, request, max_fresh);
        }
        let max_fresh = if self.costly_time.is_left() { max_fresh } else { 0 };
        let begun = Instant::now();
        let signed = keys.sign(answer, request, max_fresh);
        let took = begun.elapsed();
        if max_fresh > 0 && took > COSTLY_SIGNATURE {
            self.costly_time.spend(took);
        }
        signed
    }

    /// Makes the missing signatures of an answer on threads of their own. Other clients' signatures take turns with them.
    pub(super) async fn finish_signing(&self, query: &ClientQuery, mut answer: Box<UnsignedAnswer>) -> Reply {
        let end = Instant::now() + SIGNING_TIMEOUT;
        loop {
            let work = move || (answer.sign_next(), answer);
            let Ok((signed, next)) = self.signing.run(query.id, work).await else {
                return self.given_up(query, "too many answers wait to be signed");
            };
            answer = next;
            match signed {
                Err(error) => return self.refuse_unsigned(query, &error),
                Ok(_) if answer.missing() == 0 => return self.complete(query, *answer),
                Ok(_) if Instant::now() < end => {}
                Ok(_) => return self.given_up(query, "the answer takes too many signatures"),
            }
        }
    }

    /// The signed reply.
    fn complete(&self, query: &ClientQuery, answer: UnsignedAnswer) -> Reply {
        let compact = query.request.compact_ok() && answer.is_compact();
        match answer.finish() {
            Ok(answer) => Reply { compact, ..answer.into() },
            Err(error) => self.refuse_unsigned(query, &error),
        }
    }

    /// SERVFAIL in the place of an answer that cannot be signed: an answer is never sent without the signatures that
    /// belong to it.
    fn refuse_unsigned(&self, query: &ClientQuery, error: &SigningError) -> Reply {
        self.metrics.unsigned();
        let level = self.unsigned_log.level(log::Level::Warn);
        log::log!(level, "signing {} {}: {error}", query.name(), query.request.query.query_type());
        let error = Ede::new(Ede::RRSIGS_MISSING, "the answer could not be signed");
        Reply::failure(ResponseCode::ServFail, error)
    }
}
