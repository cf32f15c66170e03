//! What one answer of our own is made from, and how much a thread may do for it.

use super::signing::ClientKeys;
use super::{ClientClass, ClientQuery};
use crate::answer::{self, Dependencies, Externals, Made, Outcome, SharedAuthority, View, WORK_OF_ANSWER};
use crate::clock::{steady_time, unix_time};
use crate::config::Config;
use crate::forward::{StubTable, StubZone};
use crate::metrics::ReplyStats;
use crate::source::Published;
use crate::tree::Work;
use crate::wire::{CacheHint, Reply, Section, Transport, Validity};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::sync::Arc;

/// What a thread may do for one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// What its look-ups may cost together.
    pub(super) work: u32,
    /// Signatures that are made for it.
    pub(super) fresh_signatures: usize,
}

/// How an answer is made once more, from the state of that moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    /// For the same random choices.
    pub(super) seed: u64,
    /// Whether upstreams may be asked.
    pub(super) forwards: bool,
}

/// Work for an answer that others wait for: some 0.1 ms, enough for the records of nearly 400 services, of which no reply over
/// UDP holds more than 340, or for SRV of 20 names of the domain with their addresses. An answer that takes more is costly.
const USUAL_WORK: u32 = 2_000;

/// A worker's effort: its other clients wait no longer than that, and no longer than one signature takes.
pub(super) const ON_WORKER: Effort = Effort { work: USUAL_WORK, fresh_signatures: 1 };

/// A worker's effort for a costly answer, while there is [time](crate::server::costly_time) for it.
pub(super) const COSTLY_ON_WORKER: Effort = Effort { work: WORK_OF_ANSWER, ..ON_WORKER };

/// The effort on a thread of the runtime, on which everybody's forwarding waits.
pub(super) const ON_RUNTIME: Effort = Effort { fresh_signatures: 0, ..ON_WORKER };

/// Octets of the smallest record that a reply holds: a pointer for its owner name, and hardly any data.
const SMALLEST_RECORD: usize = 12;

/// What one answer is made from. None of it may change before the answer is signed.
pub(super) struct AnswerInputs<'a> {
    pub(super) config: &'a Config,
    pub(super) published: &'a Published,
    dependencies: Dependencies,
    /// For round robin and choices between CNAMEs.
    seed: u64,
    /// Whether upstreams may be asked, if the client may use them.
    forwards: bool,
    /// Unix time in seconds.
    pub(super) now: u64,
    pub(super) effort: Effort,
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

    /// The same inputs with another effort.
    pub(super) fn with_effort(self, effort: Effort) -> Self {
        Self { effort, ..self }
    }

    /// The inputs of an answer without upstreams.
    pub(super) fn without_upstreams(self) -> Self {
        Self { forwards: false, ..self }
    }

    /// How the answer is made once more.
    pub(super) fn again(&self) -> Again {
        Again { seed: self.seed, forwards: self.forwards }
    }

    /// The inputs for an answer that is made once more.
    pub(super) fn made_again(self, again: Again) -> Self {
        Self { seed: again.seed, forwards: self.forwards && again.forwards, ..self }
    }

    /// The stub zone that a name is in; what was read to find out becomes a dependency.
    pub(super) fn stub_zone(&self, stubs: &StubTable, name: &Name) -> Option<Arc<StubZone>> {
        stubs.find(name, &self.published.tree, &self.config.site, &self.dependencies)
    }

    /// The stub zone that a name is in which a zone of ours leaves to upstreams.
    pub(super) fn stub_zone_for_missing(&self, stubs: &StubTable, name: &Name) -> Option<Arc<StubZone>> {
        stubs.find_for_missing(name, &self.published.tree, &self.config.site, &self.dependencies)
    }

    pub(super) fn answer(
        &self,
        query: &ClientQuery,
        keys: Option<&ClientKeys>,
        externals: &Externals,
    ) -> Outcome {
        let (work, made) = (Work::new(self.effort.work), Made::default());
        let dnssec = keys.map(|keys| keys.view(&self.published.type_cache));
        let view = View { dnssec, ..self.view(query, externals, (&work, &made)) };
        // The reply takes the letter case of names from the question; nothing else may depend on it.
        let mut question = query.request.query.clone();
        question.set_name(question.name().to_lowercase());
        let mut outcome = answer::answer(&question, &view);
        if let Outcome::Answered(answer) = &mut outcome {
            answer.is_of_leaving = self.dependencies.has_leaving() && !answer.answers.is_empty();
        }
        outcome
    }

    /// The present state, for a query of a client that wants no DNSSEC records.
    fn view<'v>(
        &'v self,
        query: &ClientQuery,
        externals: &'v Externals,
        (work, made): (&'v Work, &'v Made),
    ) -> View<'v> {
        View {
            site: &self.config.site,
            tree: &self.published.tree,
            dependencies: &self.dependencies,
            freshness: &self.published.freshness,
            now: steady_time(),
            seed: self.seed,
            externals,
            made,
            max_records: query.transport.limit() / SMALLEST_RECORD,
            work,
            forwards: self.forwards && query.client != ClientClass::AuthoritativeOnly,
            dnssec: None,
        }
    }

    /// Whether upstreams lead with a CNAME to a name that is ours, so that the answer goes on there (RFC 1034 §4.3.2).
    pub(super) fn is_led_back(&self, query: &ClientQuery, reply: &Reply) -> bool {
        if matches!(query.rtype(), RecordType::CNAME | RecordType::ANY | RecordType::RRSIG) {
            return false;
        }
        let records = reply.forwarded.iter().flat_map(|records| records.section(Section::Answer));
        let cnames = records.filter(|record| record.rtype == RecordType::CNAME);
        let (externals, work, made) = (Externals::new(), Work::new(self.effort.work), Made::default());
        let view = self.view(query, &externals, (&work, &made));
        let is_ours = |record: Record| match &record.data {
            RData::CNAME(target) => view.is_ours(&target.0.to_lowercase()),
            _ => false,
        };
        cnames.filter_map(|record| record.to_record()).any(is_ours)
    }

    /// When a reply may be sent again, at most until a time (Unix time, in seconds); `None` if it may not.
    fn validity(self, until: u64) -> Option<Validity> {
        let tree = &self.published.tree;
        tree.versions()?;
        // The TTLs of services on a lease count down.
        let end = if self.dependencies.has_lease() { self.now.saturating_add(1) } else { u64::MAX };
        let validity = Validity {
            version: tree.version(),
            serial: self.dependencies.has_serial().then(|| tree.serial_changes()),
            from: self.now,
            until: until.min(end),
            slots: self.dependencies.into_slots()?,
            ..Validity::default()
        };
        Some(validity).filter(|validity| validity.from < validity.until)
    }

    /// How a reply of our own can be sent again, at most until a time.
    pub(super) fn cache_hint(
        self,
        until: u64,
        shared_authority: Option<Arc<SharedAuthority>>,
        client: ClientClass,
        note: ReplyStats,
    ) -> Option<CacheHint<ReplyStats>> {
        let (freshness, rotates) = (self.published.freshness.clone(), self.config.site.round_robin);
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
        let (freshness, until) = (self.published.freshness.clone(), self.now.saturating_add(left));
        let rotates = self.config.forward.round_robin;
        let validity = Validity { ages: true, rotates, ..self.validity(until)? };
        Some(CacheHint {
            validity,
            freshness,
            shared_authority: None,
            max_reply: client.max_udp_reply(),
            note,
        })
    }
}
