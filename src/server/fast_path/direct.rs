//! Questions that are not cached, for names that are ordinary: answered from the tree into the packet, and kept when they are
//! asked again.

use super::{FastPath, Settings};
use crate::answer::{
    DirectAnswer, DirectQuestion, DirectView, MAX_DIRECT_LABELS, Rng, SharedAuthority, answer_directly,
};
use crate::clock::steady_time;
use crate::metrics::{AnsweredBy, ErrorCause, ReplyStats};
use crate::wire::{CacheHint, DirectForm, MAX_UDP_REPLY, Missed, Validity, write_directly};
use crate::wire_name::labels;
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

impl FastPath {
    /// Turns the query in a buffer, whose reply is not cached, into its reply, if its name is ordinary; returns the reply's
    /// length.
    pub(super) fn answer_directly(
        &mut self,
        buffer: &mut [u8],
        missed: Missed,
        max_reply: u16,
    ) -> Option<usize> {
        let Self { cache, direct, settings, published, sent, now, .. } = self;
        let form = missed.question;
        if !direct.is_on || form.class != u16::from(DNSClass::IN) {
            return None;
        }
        let site = &settings.config.site;
        let name = cache.missed_name(missed);
        let mut path: SmallVec<[&[u8]; MAX_DIRECT_LABELS]> = SmallVec::new();
        for label in labels(name) {
            if path.len() == MAX_DIRECT_LABELS {
                return None;
            }
            path.push(label);
        }
        path.reverse();
        let rtype = RecordType::from(form.rtype);
        let question = DirectQuestion { labels: &path, rtype, dnssec_ok: form.dnssec_ok };
        let view =
            DirectView { site, tree: &published.tree, freshness: &published.freshness, now: direct.steady };
        let mut answer = answer_directly(question, view)?;
        let authority = if answer.is_denial() { Some(direct.authority(&answer)?) } else { None };
        let how = DirectForm { question: form, name, authority: authority.as_deref() };
        let rng = site.round_robin.then_some(&mut direct.rng);
        let len = write_directly(buffer, how, &mut answer, &mut direct.room, rng)?;
        let note = ReplyStats {
            answered_by: AnsweredBy::Auth,
            zone: answer.zone.statistics,
            cause: answer.denies_name.then_some(ErrorCause::Nxdomain),
            no_data: answer.is_denial() && !answer.denies_name,
            dnssec_ok: form.dnssec_ok,
            is_of_leaving: answer.has_leaving && !answer.is_denial(),
            octets: len,
        };
        let tree = &published.tree;
        let validity = (tree.versions().is_some() && cache.was_asked(missed)).then(|| Validity {
            version: tree.version(),
            slots: vec![DirectAnswer::slot(question)],
            serial: answer.is_denial().then(|| tree.serial_changes()),
            from: *now,
            until: if answer.has_lease { now.saturating_add(1) } else { u64::MAX },
            rotates: site.round_robin,
            ..Validity::default()
        });
        drop(path);
        match validity {
            Some(validity) => {
                let freshness = settings.freshness.clone();
                let hint = CacheHint { validity, freshness, shared_authority: authority, max_reply, note };
                cache.keep(missed, &buffer[..len], hint);
            }
            None => cache.remember(missed),
        }
        sent.push(note);
        Some(len)
    }
}
