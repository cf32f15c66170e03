//! The status line: how the agent is, in one line of text for `systemctl status`.
//!
//! Others report what happened as values ([`StatusNotes`], [`Status`]); here alone text is made of them.

use crate::counted::counted;
use crate::forward::{Forwarder, UpstreamCounts};
use crate::source::{HeldNames, LossCause, Publisher, ServedFrom, SourceId, SourceState, Status};
use crate::systemd;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::watch;
use tokio::time::sleep;

/// Minimum time between two changes of the line: a store that changes all the time must not keep systemd busy.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// Maximum time after which the line is made again, for changes that nobody reports.
const STATUS_PERIOD: Duration = Duration::from_secs(10);

/// Refused settings that the line names; the log has all of them.
const MAX_REFUSED: usize = 10;

/// What the line says beside the state of sources and upstreams: problems that last. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct StatusNotes(watch::Sender<Problems>);

/// The problems at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Problems {
    /// Why the agent is reduced.
    reduced: Option<String>,
    stall: Option<Stall>,
    reload: Option<ReloadFailure>,
    /// Why the snapshot cannot be written.
    snapshot: Option<String>,
    /// Why the last good settings cannot be kept.
    unkept: Option<String>,
    /// Why there is no metrics page.
    page: Option<String>,
    /// The settings that are refused.
    refused: Vec<String>,
    /// Which keys of the store are not served.
    unserved: Option<String>,
    /// Why the host does not ask the agent although `skydns resolv-conf enable` had it do so.
    resolv_conf: Option<String>,
}

/// Threads, tasks or sockets that did nothing for a whole period of the watchdog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stall {
    pub(super) period: Duration,
    /// Their names.
    pub(super) stalled: Vec<String>,
}

/// A reload that changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ReloadFailure {
    time: SystemTime,
    problem: String,
}

impl StatusNotes {
    /// Notes why the agent is reduced; `None` if it is not.
    pub(super) fn set_reduced(&self, reason: Option<&str>) {
        self.set(|problems| &mut problems.reduced, reason.map(ToOwned::to_owned));
    }

    /// Notes why the last reload failed; `None` if it succeeded.
    pub(super) fn set_reload(&self, problem: Option<&str>) {
        let time = SystemTime::now();
        let failure = problem.map(|problem| ReloadFailure { time, problem: problem.to_owned() });
        self.set(|problems| &mut problems.reload, failure);
    }

    /// Notes what has stalled; `None` if nothing has.
    pub(super) fn set_stall(&self, stall: Option<Stall>) {
        self.set(|problems| &mut problems.stall, stall);
    }

    /// Notes why the snapshot cannot be written; `None` if it was.
    pub(super) fn set_snapshot(&self, problem: Option<&str>) {
        self.set(|problems| &mut problems.snapshot, problem.map(ToOwned::to_owned));
    }

    /// Notes why the last good settings cannot be kept; `None` if they are.
    pub(super) fn set_unkept(&self, problem: Option<&str>) {
        self.set(|problems| &mut problems.unkept, problem.map(ToOwned::to_owned));
    }

    /// Notes why there is no metrics page; `None` if there is.
    pub(super) fn set_page(&self, problem: Option<&str>) {
        self.set(|problems| &mut problems.page, problem.map(ToOwned::to_owned));
    }

    /// Notes the settings that are refused.
    pub(super) fn set_refused(&self, refused: Vec<String>) {
        self.set(|problems| &mut problems.refused, refused);
    }

    /// Notes which keys of the store are not served; `None` if there are none.
    pub(super) fn set_unserved(&self, keys: Option<&str>) {
        self.set(|problems| &mut problems.unserved, keys.map(ToOwned::to_owned));
    }

    /// Notes why the host does not ask the agent any more; `None` if it does, or was never made to.
    pub(super) fn set_resolv_conf(&self, problem: Option<&str>) {
        self.set(|problems| &mut problems.resolv_conf, problem.map(ToOwned::to_owned));
    }

    /// The text of each problem.
    #[cfg(test)]
    pub(super) fn texts(&self) -> Vec<String> {
        self.0.borrow().texts()
    }

    fn set<T: PartialEq>(&self, field: impl Fn(&mut Problems) -> &mut T, value: T) {
        self.0.send_if_modified(|problems| {
            let field = field(problems);
            let is_new = *field != value;
            *field = value;
            is_new
        });
    }
}

impl Problems {
    /// The text of each problem, in the order of the line.
    fn texts(&self) -> Vec<String> {
        let stall = self.stall.iter().map(ToString::to_string);
        let reload = self.reload.iter().map(ToString::to_string);
        let snapshot = self.snapshot.iter().map(|problem| format!("no snapshot can be written: {problem}"));
        let unkept =
            self.unkept.iter().map(|problem| format!("the last good settings cannot be kept: {problem}"));
        let refused = self.refused.iter().take(MAX_REFUSED).map(|text| format!("refused: {text}"));
        let more = self.refused.len().saturating_sub(MAX_REFUSED);
        let more = (more > 0).then(|| format!("{more} more refused"));
        let page = self.page.iter().map(|problem| format!("no metrics page: {problem}"));
        let others = [&self.unserved, &self.resolv_conf].into_iter().flatten().cloned();
        let reduced = self.reduced.iter().cloned();
        reduced
            .chain(stall)
            .chain(reload)
            .chain(refused)
            .chain(more)
            .chain(snapshot)
            .chain(unkept)
            .chain(page)
            .chain(others)
            .collect()
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { period, stalled } = self;
        write!(f, "no progress for {:.1} s: {}", period.as_secs_f64(), stalled.join(", "))
    }
}

impl fmt::Display for ReloadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reload failed at {}: {}", clock(self.time), self.problem)
    }
}

/// The line while the start waits for its own sockets to answer.
pub(super) fn not_ready_text(silent: &str) -> String {
    format!("not ready yet: {silent}")
}

/// The values that the line is made from.
#[derive(Clone)]
pub(super) struct StatusLine {
    pub(super) status: watch::Receiver<Status>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) notes: StatusNotes,
}

impl StatusLine {
    /// The line as it is now.
    pub(super) fn text(&self) -> String {
        let mut parts = self.notes.0.borrow().texts();
        parts.extend(self.status.borrow().held.iter().map(held_text));
        let refused = self.publisher.refusals().count();
        parts.push(state_text(&self.status.borrow(), refused, self.forwarder.health()));
        parts.join("; ")
    }

    /// Notifies systemd whenever the line changes, for ever.
    pub(super) async fn notify_changes(mut self) {
        let mut notes = self.notes.0.subscribe();
        let mut notified = String::new();
        loop {
            let text = self.text();
            if text != notified {
                systemd::status(&text);
                notified = text;
            }
            sleep(STATUS_PAUSE).await;
            tokio::select! {
                changed = self.status.changed() => if changed.is_err() { return },
                _ = notes.changed() => {}
                () = self.forwarder.upstream_change() => {}
                () = sleep(STATUS_PERIOD) => {}
            }
        }
    }
}

/// The text of names, refused services, sources and upstreams.
fn state_text(status: &Status, refused: usize, upstreams: UpstreamCounts) -> String {
    let names = counted(status.names, "name");
    let refused = (refused > 0).then(|| format!("{} refused", counted(refused, "service")));
    let sources = status.sources.iter().filter_map(|(id, state)| source_text(*id, state, status));
    let parts = [names].into_iter().chain(refused).chain(sources).chain([upstreams_text(upstreams)]);
    parts.collect::<Vec<_>>().join("; ")
}

/// What is served on though it is gone.
pub(super) fn held_text(held: &HeldNames) -> String {
    let HeldNames { zone, cause, names, of, until } = held;
    let zone = zone.as_deref().unwrap_or("no domain");
    let cause = match cause {
        LossCause::Deleted => "deleted",
        LossCause::LeaseEnded => "gone with their leases",
    };
    format!("{names} of {of} names of {zone} are {cause}, and served on until {}", clock(*until))
}

/// How a source is; `None` if there is nothing to say of it.
fn source_text(id: SourceId, state: &SourceState, status: &Status) -> Option<String> {
    let is_optional = status.optional.contains(&id);
    Some(match state {
        SourceState::Unused { reason, is_refused: true } => format!("{} not used: {reason}", id.name()),
        SourceState::Unused { .. } => return None,
        // Where it is not known to be in use, the other API of the same store says all.
        SourceState::Waiting | SourceState::Unreachable { served_from: ServedFrom::Nothing, .. }
            if is_optional && id == SourceId::EtcdV2 =>
        {
            return None;
        }
        SourceState::Waiting => format!("waiting for {}", id.name()),
        SourceState::Synced { revision: Some(revision), changed } => {
            format!("{} in sync at revision {revision} of {}", id.name(), clock(*changed))
        }
        SourceState::Synced { revision: None, .. } => format!("{} in sync", id.name()),
        SourceState::Snapshot { as_of } => format!("snapshot of {} of {}", id.name(), clock(*as_of)),
        SourceState::Unreachable { reason, served_from: ServedFrom::Listing { .. }, since } => {
            format!("{} stale since {}: {reason}", id.name(), clock(*since))
        }
        SourceState::Unreachable { reason, served_from: ServedFrom::Snapshot(as_of), .. } => {
            format!("snapshot of {} of {}: {reason}", id.name(), clock(*as_of))
        }
        SourceState::Unreachable { served_from: ServedFrom::Nothing, .. } if is_optional => {
            format!("no {} on this host", id.name())
        }
        SourceState::Unreachable { reason, served_from: ServedFrom::Nothing, .. } => {
            format!("waiting for {}: {reason}", id.name())
        }
    })
}

fn upstreams_text(counts: UpstreamCounts) -> String {
    let UpstreamCounts { not_asked, up, down } = counts;
    let all = counts.all();
    match (all, up, down) {
        (0, ..) => return "no upstream".to_owned(),
        (_, 0, 0) => return format!("{}, not asked yet", counted(all, "upstream")),
        (1, 0, _) => return "the upstream does not answer".to_owned(),
        (1, ..) => return "the upstream answers".to_owned(),
        _ => {}
    }
    let answering = match up {
        0 => format!("none of {all} upstreams answers"),
        1 => format!("1 of {all} upstreams answers"),
        _ => format!("{up} of {all} upstreams answer"),
    };
    if not_asked > 0 { format!("{answering}, {not_asked} not asked yet") } else { answering }
}

/// A date and time of day in UTC: the line may be days old.
fn clock(time: SystemTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    OffsetDateTime::from(time).format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_state_of_each_source() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let line = |state: SourceState, (up, down)| {
            let sources = [(SourceId::Etcd, state)].into_iter().collect();
            let upstreams = UpstreamCounts { not_asked: 0, up, down };
            state_text(&Status { sources, names: 7, ..Status::default() }, 0, upstreams)
        };
        let synced = SourceState::Synced { revision: Some(42), changed: at };
        assert_eq!(
            line(synced, (1, 1)),
            "7 names; etcd in sync at revision 42 of 2023-11-14 22:13:20Z; 1 of 2 upstreams answers"
        );
        let lost =
            |served_from| SourceState::Unreachable { reason: "refused".to_owned(), served_from, since: at };
        assert_eq!(
            line(lost(ServedFrom::Listing { revision: None }), (0, 2)),
            "7 names; etcd stale since 2023-11-14 22:13:20Z: refused; none of 2 upstreams answers"
        );
        assert_eq!(
            line(lost(ServedFrom::Nothing), (0, 0)),
            "7 names; waiting for etcd: refused; no upstream"
        );
        assert_eq!(
            line(SourceState::Snapshot { as_of: at }, (1, 0)),
            "7 names; snapshot of etcd of 2023-11-14 22:13:20Z; the upstream answers"
        );
        assert_eq!(
            line(lost(ServedFrom::Snapshot(at)), (0, 0)),
            "7 names; snapshot of etcd of 2023-11-14 22:13:20Z: refused; no upstream"
        );
        assert_eq!(
            line(SourceState::Waiting, (0, 1)),
            "7 names; waiting for etcd; the upstream does not answer"
        );
        let unused = |is_refused| SourceState::Unused { reason: "open to all".to_owned(), is_refused };
        assert_eq!(line(unused(false), (0, 0)), "7 names; no upstream");
        assert_eq!(line(unused(true), (0, 0)), "7 names; etcd not used: open to all; no upstream");
    }

    #[test]
    fn names_that_are_served_on_are_told() {
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let zone = Some("skydns.local.".to_owned());
        let held = HeldNames { zone, cause: LossCause::Deleted, names: 40, of: 100, until };
        assert_eq!(
            held_text(&held),
            "40 of 100 names of skydns.local. are deleted, and served on until 2023-11-14 22:13:20Z"
        );
    }

    #[test]
    fn one_name_is_one_name_and_refused_services_are_counted() {
        let line = |names, refused| {
            state_text(&Status { names, ..Status::default() }, refused, UpstreamCounts::default())
        };
        assert_eq!(line(1, 0), "1 name; no upstream");
        assert_eq!(line(2, 1), "2 names; 1 service refused; no upstream");
        assert_eq!(line(0, 3), "0 names; 3 services refused; no upstream");
    }

    #[test]
    fn upstreams_that_were_not_asked_yet_neither_answer_nor_fail() {
        let text = |not_asked, up, down| upstreams_text(UpstreamCounts { not_asked, up, down });
        assert_eq!(text(1, 0, 0), "1 upstream, not asked yet");
        assert_eq!(text(2, 0, 0), "2 upstreams, not asked yet");
        assert_eq!(text(1, 1, 0), "1 of 2 upstreams answers, 1 not asked yet");
        assert_eq!(text(1, 0, 1), "none of 2 upstreams answers, 1 not asked yet");
        assert_eq!(text(0, 2, 0), "2 of 2 upstreams answer");
    }

    #[test]
    fn problems_come_in_one_order() {
        let notes = StatusNotes::default();
        notes.set_snapshot(Some("disk full"));
        notes.set_reload(Some("no such flag"));
        notes.set_page(Some("127.0.0.1:80: in use"));
        notes
            .set_stall(Some(Stall { period: Duration::from_millis(600), stalled: vec!["udp 0".to_owned()] }));
        let texts = notes.0.borrow().texts();
        assert_eq!(texts[0], "no progress for 0.6 s: udp 0");
        assert!(
            texts[1].starts_with("reload failed at 2") && texts[1].ends_with("Z: no such flag"),
            "{texts:?}"
        );
        assert_eq!(texts[2], "no snapshot can be written: disk full");
        assert_eq!(texts[3], "no metrics page: 127.0.0.1:80: in use");
    }
}
