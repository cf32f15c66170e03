//! Questions that are not cached, for names that are ordinary: answered from the tree into the packet, and kept when they are
//! asked again.

use super::super::datagrams::BATCH;
use super::{FastPath, Queries, Settings};
use crate::answer::{DirectAnswer, DirectPlan, DirectQuestion, DirectView, Rng, SharedAuthority, Zone};
use crate::clock::steady_time;
use crate::metrics::{AnsweredBy, ErrorCause, ReplyStats};
use crate::source::Published;
use crate::tree::{Descents, LabelPath};
use crate::wire::{
    CacheHint, DirectForm, MAX_QUESTION_KEY, MAX_UDP_REPLY, Missed, QuestionKey, ReplyCache, Validity,
    write_directly,
};
use hickory_proto::rr::{DNSClass, RecordType};
use smallvec::SmallVec;
use std::sync::Arc;

/// What one worker needs for direct answers.
#[derive(Debug)]
pub(super) struct Direct {
    /// Where replies are written.
    room: Box<[u8]>,
    /// The authority section of the denials of each zone, by its number, with the serial that it holds.
    authorities: Vec<Option<(u32, Arc<SharedAuthority>)>>,
    /// Whether the settings leave questions for names of ours to the tree alone.
    is_on: bool,
    /// For the order of records.
    rng: Rng,
    /// Seconds of the clock by which leases end.
    pub(super) steady: u64,
}

impl Direct {
    pub(super) fn new(settings: &Settings) -> Self {
        let forward = &settings.config.forward;
        Self {
            room: vec![0; usize::from(MAX_UDP_REPLY)].into(),
            authorities: vec![None; settings.config.site.zones.iter().len()],
            is_on: forward.routes.is_empty() && !forward.stub_zones,
            rng: Rng::new(rand::random()),
            steady: steady_time(),
        }
    }

    /// The authority section of a denial.
    fn authority(&mut self, answer: &DirectAnswer<'_>) -> Option<Arc<SharedAuthority>> {
        let serial = answer.serial();
        match self.authorities.get_mut(answer.zone.number())? {
            Some((of, authority)) if *of == serial => Some(Arc::clone(authority)),
            kept => {
                let authority = Arc::new(answer.authority());
                *kept = Some((serial, Arc::clone(&authority)));
                Some(authority)
            }
        }
    }
}

/// The queries of a batch whose replies are not cached.
#[derive(Debug)]
pub(super) struct MissedQueries {
    queries: Vec<MissedQuery>,
    /// The keys of their questions.
    pub(super) keys: Box<[[u8; MAX_QUESTION_KEY]; BATCH]>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
struct MissedQuery {
    /// Its number in the batch.
    number: usize,
    missed: Missed,
    /// The most octets that its client is sent.
    max_reply: u16,
}

impl MissedQueries {
    pub(super) fn new() -> Self {
        Self { queries: Vec::with_capacity(BATCH), keys: Box::new([[0; MAX_QUESTION_KEY]; BATCH]) }
    }

    /// Where the key of the next question goes.
    pub(super) fn next_key(&mut self) -> &mut [u8; MAX_QUESTION_KEY] {
        let next = self.queries.len().min(BATCH - 1);
        &mut self.keys[next]
    }

    /// Adds a query; its key is the last one that was written.
    pub(super) fn push(&mut self, number: usize, missed: Missed, max_reply: u16) {
        self.queries.push(MissedQuery { number, missed, max_reply });
    }

    /// The numbers of the queries in the batch.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.queries.iter().map(|query| query.number)
    }

    pub(super) fn clear(&mut self) {
        self.queries.clear();
    }
}

impl FastPath {
    /// Turns the queries that were missed into their replies, if their names are ordinary.
    pub(super) fn answer_missed(&mut self, queries: &mut impl Queries) {
        let Self { direct, missed, settings, published, .. } = self;
        let (settings, published) = (&*settings, &*published);
        let mut paths: SmallVec<[LabelPath<'_>; BATCH]> = SmallVec::new();
        for (query, key) in missed.queries.iter().zip(missed.keys.iter()) {
            match LabelPath::new(query.missed.question.name(key)) {
                Some(path) if direct.is_on && query.missed.question.class == u16::from(DNSClass::IN) => {
                    paths.push(path);
                }
                _ => paths.push(LabelPath::default()),
            }
        }
        let view = DirectView {
            site: &settings.config.site,
            tree: &published.tree,
            freshness: &published.freshness,
            now: direct.steady,
        };
        let mut plans: SmallVec<[Option<DirectPlan<'_>>; BATCH]> = SmallVec::new();
        let (mut descents, mut apex) = (Descents::new(), None);
        for (query, path) in missed.queries.iter().zip(&paths) {
            let plan = DirectPlan::new(question(query.missed.question, path), view);
            plans.push(plan);
            let zone = plan.map(|plan| plan.zone());
            let top = zone.and_then(|zone| match apex {
                Some((number, node)) if number == zone.number() => node,
                _ => {
                    let node = view.tree.node(zone.apex().labels()).map(|node| &**node);
                    apex = Some((zone.number(), node));
                    node
                }
            });
            descents.push(top, zone.map_or(0, Zone::apex_labels), path);
        }
        descents.run();
        for (at, node) in descents.nodes().enumerate() {
            let query = missed.queries[at];
            let question = question(query.missed.question, &paths[at]);
            let work = Work { query, key: &missed.keys[at], question };
            let worker = (&mut self.cache, &mut *direct, &mut self.sent);
            let buffer = queries.query(query.number).0;
            let answered = plans[at].and_then(|plan| {
                plan.answer(question, node, |answer| {
                    work.finish(answer, worker, buffer, (settings, published, self.now))
                })
            });
            queries.answered(query.number, answered);
        }
    }
}

fn question<'q>(form: QuestionKey, labels: &'q LabelPath<'q>) -> DirectQuestion<'q> {
    DirectQuestion { labels, rtype: RecordType::from(form.rtype), dnssec_ok: form.dnssec_ok }
}

/// A direct answer that is to be written.
struct Work<'a> {
    query: MissedQuery,
    key: &'a [u8; MAX_QUESTION_KEY],
    question: DirectQuestion<'a>,
}

impl Work<'_> {
    /// Writes the reply, counts it, and keeps it if its question was asked before; returns its length.
    fn finish(
        self,
        answer: &mut DirectAnswer<'_>,
        (cache, direct, sent): (&mut ReplyCache<ReplyStats>, &mut Direct, &mut Vec<ReplyStats>),
        buffer: &mut [u8],
        (settings, published, now): (&Settings, &Published, u64),
    ) -> Option<usize> {
        let Self { query: MissedQuery { missed, max_reply, .. }, key, question } = self;
        let (form, round_robin) = (missed.question, settings.config.site.round_robin);
        let authority = if answer.is_denial() { Some(direct.authority(answer)?) } else { None };
        let how = DirectForm { question: form, name: form.name(key), authority: authority.as_deref() };
        let rng = round_robin.then_some(&mut direct.rng);
        let len = write_directly(buffer, how, answer, &mut direct.room, rng)?;
        let note = ReplyStats {
            answered_by: AnsweredBy::Auth,
            zone: answer.zone.statistics,
            cause: answer.denies_name.then_some(ErrorCause::Nxdomain),
            no_data: answer.is_denial() && !answer.denies_name,
            dnssec_ok: form.dnssec_ok,
            is_of_leaving: answer.has_leaving && !answer.is_denial(),
            octets: len,
        };
        sent.push(note);
        let tree = &published.tree;
        if tree.versions().is_none() || !cache.was_asked(missed) {
            cache.remember(missed);
            return Some(len);
        }
        let validity = Validity {
            version: tree.version(),
            slots: vec![DirectAnswer::slot(question)],
            serial: answer.is_denial().then(|| tree.serial_changes()),
            from: now,
            until: if answer.has_lease { now.saturating_add(1) } else { u64::MAX },
            rotates: round_robin,
            ..Validity::default()
        };
        let freshness = settings.freshness.clone();
        let hint = CacheHint { validity, freshness, shared_authority: authority, max_reply, note };
        cache.keep(missed, key, &buffer[..len], hint);
        Some(len)
    }
}
