//! Answers for our own names: made from one state of tree, configuration and keys, and signed.

use super::pending::Forwarding;
use super::{ClientClass, ClientQuery, Handled, Handler, PendingQuery, PendingWork};
use crate::answer::{
    self, Answer, Dependencies, DnssecView, Ede, Externals, Lookup, Outcome, SharedAuthority, TypeCache,
    View, WORK_OF_ANSWER,
};
use crate::clock::unix_time;
use crate::config::Config;
use crate::dnssec::{
    DenialKind, KeyState, Signer, SigningError, SigningOutcome, SigningRequest, UnsignedAnswer,
};
use crate::forward::{StubTable, StubZone};
use crate::metrics::{AnsweredBy, ReplyStats};
use crate::server::costly::NotDone;
use crate::source::Published;
use crate::tree::Work;
use crate::wire::{self, CacheHint, Reply, Transport, Validity};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a thread may do for one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// What its look-ups may cost together.
    work: u32,
    /// Signatures that are made for it.
    fresh_signatures: usize,
}

/// How an answer is made once more, from the state of that moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    /// For the same random choices.
    seed: u64,
    /// Whether upstreams may be asked.
    forwards: bool,
}

/// A worker's effort: its other clients wait no longer than that, and no longer than one signature takes.
const ON_WORKER: Effort = Effort { work: WORK_OF_ANSWER, fresh_signatures: 1 };

/// The effort on a thread of the runtime, on which everybody's forwarding waits: some 0.1 ms, enough for answers from hundreds
/// of services. What takes more is left to the threads for costly work.
const ON_RUNTIME: Effort = Effort { work: 2_000, fresh_signatures: 0 };

/// RRSIGs Missing (RFC 8914 §4.11).
const RRSIGS_MISSING: u16 = 10;

/// Work for one answer over TCP.
const WORK_OVER_TCP: u32 = 5 * WORK_OF_ANSWER;

/// How long the signatures of one answer may take, the wait for threads included.
const SIGNING_TIMEOUT: Duration = Duration::from_secs(4);

/// Octets of the smallest record that a reply holds: a pointer for its owner name, and hardly any data.
const SMALLEST_RECORD: usize = 12;

/// What one answer is made from. None of it may change before the answer is signed.
pub(super) struct AnswerInputs<'a> {
    config: &'a Config,
    published: &'a Published,
    dependencies: Dependencies,
    /// For round robin and choices between CNAMEs.
    seed: u64,
    /// Whether upstreams may be asked, if the client may use them.
    forwards: bool,
    /// Unix time in seconds.
    now: u64,
    effort: Effort,
}

/// The keys that an answer is made and signed with, whatever changes meanwhile.
#[derive(Clone, Debug)]
struct AnswerKeys {
    signer: Arc<Signer>,
    state: Arc<KeyState>,
    /// Whether the keys are those of the domain. After a change of the domain they are those of the other domain for a
    /// moment: then nothing is answered that would have to be signed.
    sign_domain: bool,
    dnssec_ok: bool,
}

/// What came of signing.
enum Signed {
    /// The reply can be sent, and again until this time (Unix time, in seconds).
    Complete(Reply, u64),
    /// It takes more signatures than a worker makes.
    Unfinished(Box<UnsignedAnswer>),
}

impl Effort {
    /// What the thread that handles a query may do for it.
    pub(super) fn of(transport: Transport) -> Self {
        if transport == Transport::Tcp { ON_RUNTIME } else { ON_WORKER }
    }
}

impl<'a> AnswerInputs<'a> {
    pub(super) fn new(config: &'a Config, published: &'a Published, effort: Effort) -> Self {
        let (dependencies, seed) = (Dependencies::default(), rand::random());
        let forwards = !config.forward.no_rec;
        Self { config, published, dependencies, seed, forwards, now: unix_time(), effort }
    }

    /// The inputs of an answer without upstreams.
    fn without_upstreams(self) -> Self {
        Self { forwards: false, ..self }
    }

    /// How the answer is made once more.
    fn again(&self) -> Again {
        Again { seed: self.seed, forwards: self.forwards }
    }

    /// The stub zone that a name is in; what was read to find out becomes a dependency.
    pub(super) fn stub_zone(&self, stubs: &StubTable, name: &Name) -> Option<Arc<StubZone>> {
        stubs.find(name, &self.published.tree, &self.config.zone, &self.dependencies)
    }

    fn answer(&self, query: &ClientQuery, keys: Option<&AnswerKeys>, externals: &Externals) -> Outcome {
        let view = View {
            zone: &self.config.zone,
            tree: &self.published.tree,
            dependencies: &self.dependencies,
            freshness: self.published.freshness,
            now: self.now,
            seed: self.seed,
            externals,
            max_records: query.transport.limit() / SMALLEST_RECORD,
            work: &Work::new(self.effort.work),
            forwards: self.forwards && query.client != ClientClass::AuthoritativeOnly,
            dnssec: keys.and_then(|keys| keys.view(&self.published.type_cache)),
        };
        // The reply takes the letter case of names from the question; nothing else may depend on it.
        let mut question = query.request.query.clone();
        question.set_name(question.name().to_lowercase());
        answer::answer(&question, &view)
    }

    /// When a reply may be sent again, at most until a time (Unix time, in seconds); `None` if it may not.
    fn validity(self, until: u64) -> Option<Validity> {
        let tree = &self.published.tree;
        tree.versions()?;
        // The TTLs of services on a lease count down.
        let end = if self.dependencies.has_lease() { self.now.saturating_add(1) } else { u64::MAX };
        let validity = Validity {
            version: tree.version(),
            serial: self.dependencies.has_serial().then(|| tree.serial()),
            from: self.now,
            until: until.min(end),
            slots: self.dependencies.into_slots()?,
            ..Validity::default()
        };
        Some(validity).filter(|validity| validity.from < validity.until)
    }

    /// How a reply of our own can be sent again, at most until a time.
    fn cache_hint(
        self,
        until: u64,
        shared_authority: Option<Arc<SharedAuthority>>,
        client: ClientClass,
        note: ReplyStats,
    ) -> Option<CacheHint<ReplyStats>> {
        let (freshness, rotates) = (self.published.freshness, self.config.zone.round_robin);
        let validity = Validity { rotates, ..self.validity(until)? };
        Some(CacheHint { validity, freshness, shared_authority, max_reply: client.max_udp_reply(), note })
    }

    /// How a reply out of the response cache can be sent again, for as many seconds as it has left there.
    pub(super) fn cache_hint_of_forwarded(
        self,
        left: u64,
        client: ClientClass,
        note: ReplyStats,
    ) -> Option<CacheHint<ReplyStats>> {
        let (freshness, until) = (self.published.freshness, self.now.saturating_add(left));
        let validity = Validity { ages: true, ..self.validity(until)? };
        Some(CacheHint {
            validity,
            freshness,
            shared_authority: None,
            max_reply: client.max_udp_reply(),
            note,
        })
    }
}

impl AnswerKeys {
    /// What the answer needs to know of the keys.
    fn view<'a>(&'a self, type_cache: &'a TypeCache) -> Option<DnssecView<'a>> {
        let compact = self.signer.denial() == DenialKind::Compact;
        let view = || DnssecView { apex: self.state.apex(), dnssec_ok: self.dnssec_ok, compact, type_cache };
        self.sign_domain.then(view)
    }
}

impl Handler {
    /// Answers a name of our own; any other is forwarded.
    pub(super) fn answer_own(&self, query: ClientQuery, inputs: AnswerInputs<'_>) -> Handled {
        let keys = self.keys(&query, &inputs);
        let answer = match inputs.answer(&query, keys.as_ref(), &Externals::new()) {
            Outcome::Answered(answer) => answer,
            Outcome::Lookup(lookups) => {
                let work = PendingWork::Lookup(lookups, inputs.again());
                return Handled::Pending(PendingQuery { query, work });
            }
            Outcome::Forward => return self.forward(query, Forwarding::default(), inputs),
            Outcome::ForwardExisting => {
                let forwarding = Forwarding { name_exists: true, ..Forwarding::default() };
                return self.forward(query, forwarding, inputs);
            }
        };
        if answer.too_costly && query.transport == Transport::Tcp {
            let work = PendingWork::Costly(inputs.again());
            return Handled::Pending(PendingQuery { query, work });
        }
        match self.sign(&query, keys, answer, &inputs) {
            Signed::Complete(reply, until) => {
                let (octets, note) = self.encode(&query, answered_by(&reply), &reply);
                Handled::Reply(octets, inputs.cache_hint(until, reply.shared_authority, query.client, note))
            }
            Signed::Unfinished(answer) => {
                Handled::Pending(PendingQuery { query, work: PendingWork::Sign(answer) })
            }
        }
    }

    /// Answers our own probe with the SOA of the domain.
    pub(super) fn answer_probe(&self, mut query: ClientQuery, config: &Config) -> Handled {
        query.request.query = Query::query(config.zone.domain().clone(), RecordType::SOA);
        let published = self.published.load();
        let inputs = AnswerInputs::new(config, &published, ON_WORKER).without_upstreams();
        match inputs.answer(&query, None, &Externals::new()) {
            Outcome::Answered(answer) => {
                Handled::Reply(wire::encode(&query.request, &Reply::from(answer), query.transport), None)
            }
            // The apex is always ours.
            Outcome::Lookup(_) | Outcome::Forward | Outcome::ForwardExisting => Handled::Drop,
        }
    }

    /// The reply to a question that upstreams deny, about a name that exists here.
    pub(super) async fn answer_without_upstreams(self: &Arc<Self>, query: &Arc<ClientQuery>) -> Reply {
        let again = Again { seed: rand::random(), forwards: false };
        self.answer_with(query, Externals::new(), again).await
    }

    /// The reply once the names outside of the tree are known that its answer needs.
    pub(super) async fn answer_with(
        self: &Arc<Self>,
        query: &Arc<ClientQuery>,
        mut externals: Externals,
        again: Again,
    ) -> Reply {
        match self.make_with(query, &mut externals, again, ON_RUNTIME) {
            Signed::Complete(reply, _) if reply.too_costly => {
                self.answer_at_any_cost(query, externals, again).await
            }
            Signed::Complete(reply, _) => reply,
            Signed::Unfinished(answer) => self.finish_signing(query, answer).await,
        }
    }

    /// The reply that takes all the work that its transport allows, made by a thread for costly work.
    pub(super) async fn answer_at_any_cost(
        self: &Arc<Self>,
        query: &Arc<ClientQuery>,
        mut externals: Externals,
        again: Again,
    ) -> Reply {
        let work = match query.transport {
            Transport::Udp { .. } => WORK_OF_ANSWER,
            Transport::Tcp => WORK_OVER_TCP,
        };
        let (handler, made_for) = (Arc::clone(self), Arc::clone(query));
        let effort = Effort { work, ..ON_RUNTIME };
        let made = move || handler.make_with(&made_for, &mut externals, again, effort);
        match self.answering.run(query.id, made).await {
            Ok(Signed::Complete(reply, _)) => reply,
            Ok(Signed::Unfinished(answer)) => self.finish_signing(query, answer).await,
            Err(NotDone) => self.given_up("too many costly answers are under way"),
        }
    }

    fn make_with(
        &self,
        query: &ClientQuery,
        externals: &mut Externals,
        Again { seed, forwards }: Again,
        effort: Effort,
    ) -> Signed {
        let (config, published) = (self.config.load(), self.published.load());
        let inputs = AnswerInputs::new(&config, &published, effort);
        let forwards = inputs.forwards && forwards;
        let inputs = AnswerInputs { seed, forwards, ..inputs };
        let keys = self.keys(query, &inputs);
        let mut outcome = inputs.answer(query, keys.as_ref(), externals);
        if let Outcome::Lookup(more) = outcome {
            // The tree changed meanwhile. One look-up upstream is enough: other names count as failed.
            more.into_iter().for_each(|lookup: Lookup| externals.insert_failure(lookup));
            outcome = inputs.answer(query, keys.as_ref(), externals);
        }
        let failure = |why: &str| Reply::failure(ResponseCode::ServFail, Ede::new(Ede::OTHER, why));
        match outcome {
            Outcome::Answered(answer) => self.sign(query, keys, answer, &inputs),
            Outcome::Lookup(_) => Signed::Complete(failure("the data changed"), 0),
            Outcome::Forward | Outcome::ForwardExisting => {
                Signed::Complete(failure("the configuration changed"), 0)
            }
        }
    }

    /// The keys to answer with; `None` if the zone is not signed, or if the answer does not depend on them.
    fn keys(&self, query: &ClientQuery, inputs: &AnswerInputs<'_>) -> Option<AnswerKeys> {
        let dnssec_ok = query.request.dnssec_ok();
        // Without DO only the apex has records of DNSSEC. All other questions spare the counter that workers share.
        if !dnssec_ok && !inputs.config.zone.is_apex(query.name()) {
            return None;
        }
        let signer = self.signer.load_full()?;
        let state = signer.state(inputs.now);
        let sign_domain = signer.zone() == inputs.config.zone.domain();
        Some(AnswerKeys { signer, state, sign_domain, dnssec_ok })
    }

    /// Signs an answer of ours if the client wants that, with as many fresh signatures as the effort allows.
    fn sign(
        &self,
        query: &ClientQuery,
        keys: Option<AnswerKeys>,
        answer: Answer,
        inputs: &AnswerInputs<'_>,
    ) -> Signed {
        let until = keys.as_ref().map_or(u64::MAX, |keys| keys.state.until());
        let Some(keys) = keys.filter(|keys| keys.dnssec_ok && !answer.too_large) else {
            return Signed::Complete(answer.into(), until);
        };
        if !keys.sign_domain {
            let error = SigningError::NoKey(keys.signer.zone().clone());
            return Signed::Complete(self.refuse_unsigned(query, &error), 0);
        }
        let request = &query.request;
        let signing = SigningRequest {
            rtype: request.query.query_type(),
            now: inputs.now,
            compact_ok: request.compact_ok(),
            max_reply_octets: query.transport.limit(),
        };
        match keys.signer.sign(answer, &keys.state, signing, inputs.effort.fresh_signatures) {
            Ok(SigningOutcome::Signed { answer, until }) => {
                let compact = request.compact_ok() && keys.signer.denial() == DenialKind::Compact;
                Signed::Complete(Reply { compact, ..answer.into() }, until)
            }
            Ok(SigningOutcome::Unfinished(answer)) => Signed::Unfinished(answer),
            Err(error) => Signed::Complete(self.refuse_unsigned(query, &error), 0),
        }
    }

    /// Makes the missing signatures of an answer on threads of their own. Other clients' signatures take turns with them.
    pub(super) async fn finish_signing(&self, query: &ClientQuery, mut answer: Box<UnsignedAnswer>) -> Reply {
        let end = Instant::now() + SIGNING_TIMEOUT;
        loop {
            let work = move || (answer.sign_next(), answer);
            let Ok((signed, next)) = self.signing.run(query.id, work).await else {
                return self.given_up("too many answers wait to be signed");
            };
            answer = next;
            match signed {
                Err(error) => return self.refuse_unsigned(query, &error),
                Ok(_) if answer.missing() == 0 => return self.complete(query, *answer),
                Ok(_) if Instant::now() < end => {}
                Ok(_) => return self.given_up("the answer takes too many signatures"),
            }
        }
    }

    /// The reply in place of an answer that is given up because too much is under way.
    fn given_up(&self, why: &str) -> Reply {
        self.metrics.overloaded();
        Reply::failure(ResponseCode::ServFail, Ede::new(Ede::OTHER, why))
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
        let error = Ede::new(RRSIGS_MISSING, "the answer could not be signed");
        Reply::failure(ResponseCode::ServFail, error)
    }
}

/// Who gave an answer of our own: without AA it came from the reverse keys.
fn answered_by(reply: &Reply) -> AnsweredBy {
    if !reply.authoritative && reply.rcode == ResponseCode::NoError {
        AnsweredBy::Reverse
    } else {
        AnsweredBy::Auth
    }
}
