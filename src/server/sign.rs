//! Signed answers: what may be signed on the spot, and what the slow path signs.

use super::handler::Handler;
use crate::answer::{Answer, DnssecView, Ede, TypeCache};
use crate::config::Config;
use crate::dnssec::{DenialKind, KeyState, Signer, SigningError, SigningRequest, UnsignedAnswer};
use crate::wire::{Reply, Request, Transport};
use hickory_proto::op::ResponseCode;
use std::sync::Arc;

/// Signatures that a worker makes for one answer: it is kept from its other clients no longer than that takes.
const ON_THE_SPOT: usize = 1;

/// RRSIGs Missing (RFC 8914 §4.11).
const RRSIGS_MISSING: u16 = 10;

/// The keys that an answer is made and signed with, whatever changes meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Signing {
    signer: Arc<Signer>,
    state: Arc<KeyState>,
    now: u64,
    /// Whether the keys are those of the domain.
    signs_domain: bool,
    dnssec_ok: bool,
}

/// What signing came to.
pub(super) enum Signed {
    /// The reply can go out, again and again until this time (Unix time, in seconds).
    Ready(Reply, u64),
    /// It takes more signatures than can be waited for.
    Later(Box<UnsignedAnswer>),
}

impl Signing {
    /// What the answer needs to know.
    pub(super) fn dnssec_view<'a>(&'a self, type_cache: &'a TypeCache) -> Option<DnssecView<'a>> {
        let compact = self.signer.denial() == DenialKind::Compact;
        self.signs_domain.then(|| DnssecView {
            apex: self.state.apex(),
            dnssec_ok: self.dnssec_ok,
            compact,
            type_cache,
        })
    }
}

impl Handler {
    /// The keys to answer with; nothing if the zone is not signed.
    pub(super) fn signing(&self, request: &Request, config: &Config, now: u64) -> Option<Signing> {
        // For a moment after a change of the domain the keys are those of the other one: nothing goes out then.
        // Others are given nothing of it but at the apex, and do not touch what all workers share.
        let concerns = request.dnssec_ok() || config.zone.is_apex(request.query.name());
        let signer = concerns.then(|| self.signer().load_full()).flatten()?;
        let state = signer.state(now);
        let signs_domain = signer.zone() == config.zone.domain();
        Some(Signing { signer, state, now, signs_domain, dnssec_ok: request.dnssec_ok() })
    }

    /// Signs an answer of ours if the client wants that, with no more than one fresh signature.
    pub(super) fn sign(
        &self,
        request: &Request,
        transport: Transport,
        signing: Option<&Signing>,
        answer: Answer,
    ) -> Signed {
        let until = signing.map_or(u64::MAX, |signing| signing.state.until());
        let Some(signing) = signing.filter(|_| request.dnssec_ok() && !answer.too_large) else {
            return Signed::Ready(answer.into(), until);
        };
        if !signing.signs_domain {
            let error = SigningError::NoKey(signing.signer.zone().clone());
            return Signed::Ready(self.unsigned(request, &error), 0);
        }
        let (rtype, compact_ok) = (request.query.query_type(), request.compact_ok());
        let asked = SigningRequest { rtype, now: signing.now, compact_ok, room: transport.limit() };
        match signing.signer.prepare(answer, &signing.state, asked) {
            Ok(unsigned) if unsigned.missing() > ON_THE_SPOT => Signed::Later(Box::new(unsigned)),
            Ok(unsigned) => {
                let (reply, until) = self.finished(request, unsigned);
                Signed::Ready(reply, until)
            }
            Err(error) => Signed::Ready(self.unsigned(request, &error), 0),
        }
    }

    /// Signs what is left of an answer, and lets others run after each signature.
    ///
    /// As many do that at once as there are cores: those who wait for upstreams wait for no more signatures than that.
    pub(super) async fn sign_all(&self, request: &Request, mut unsigned: Box<UnsignedAnswer>) -> Reply {
        let _permit = self.signing.acquire().await;
        loop {
            match unsigned.sign_next() {
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => return self.finished(request, *unsigned).0,
                Err(error) => return self.unsigned(request, &error),
            }
        }
    }

    /// The whole answer, and until when it may be given again.
    fn finished(&self, request: &Request, mut unsigned: UnsignedAnswer) -> (Reply, u64) {
        let compact = request.compact_ok() && unsigned.is_compact();
        let signed = move || {
            while unsigned.sign_next()? {}
            let until = unsigned.until();
            Ok((unsigned.finish()?, until))
        };
        match signed() {
            Ok((answer, until)) => (Reply { compact, ..answer.into() }, until),
            Err(error) => (self.unsigned(request, &error), 0),
        }
    }

    /// An answer never goes out without the signatures that belong to it.
    fn unsigned(&self, request: &Request, error: &SigningError) -> Reply {
        self.metrics().unsigned();
        let level = self.unsigned_log.level(log::Level::Warn);
        log::log!(level, "signing {} {}: {error}", request.query.name(), request.query.query_type());
        let error = Ede::new(RRSIGS_MISSING, "the answer could not be signed");
        Reply::failure(ResponseCode::ServFail, error)
    }
}
