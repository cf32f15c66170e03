//! How things are, in one line for a person: `systemctl status` shows it.

use crate::forward::Forwarder;
use crate::source::{ServedFrom, SourceState, Status};
use crate::systemd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::watch;
use tokio::time::sleep;

/// How often the line may change: a busy store must not keep systemd busy.
const REST: Duration = Duration::from_secs(1);

/// How often it is made anew without news.
const LOOK: Duration = Duration::from_secs(10);

/// What the line says beside the state of sources and upstreams.
#[derive(Clone, Debug, Default)]
pub(super) struct StatusNotes(watch::Sender<NoteTexts>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NoteTexts {
    reload: Option<String>,
    standing: Option<String>,
    snapshot: Option<String>,
}

impl StatusNotes {
    /// What went wrong at the last reload.
    pub(super) fn set_reload(&self, problem: Option<&str>) {
        let text = problem.map(|problem| format!("reload failed at {}: {problem}", clock(SystemTime::now())));
        self.set(|texts| &mut texts.reload, text);
    }

    /// What does not move.
    pub(super) fn set_standing(&self, text: Option<String>) {
        self.set(|texts| &mut texts.standing, text);
    }

    /// Why no snapshot can be written.
    pub(super) fn set_snapshot(&self, problem: Option<&str>) {
        let text = problem.map(|problem| format!("no snapshot can be written: {problem}"));
        self.set(|texts| &mut texts.snapshot, text);
    }

    fn set(&self, of: impl Fn(&mut NoteTexts) -> &mut Option<String>, text: Option<String>) {
        self.0.send_if_modified(|texts| {
            let place = of(texts);
            let news = *place != text;
            *place = text;
            news
        });
    }
}

/// Everything that the line is made from.
#[derive(Clone)]
pub(super) struct StatusLine {
    pub(super) status: watch::Receiver<Status>,
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) notes: StatusNotes,
}

impl StatusLine {
    /// The line as it is now.
    pub(super) fn text(&self) -> String {
        let texts = self.notes.0.borrow().clone();
        let notes = texts.standing.into_iter().chain(texts.reload).chain(texts.snapshot);
        let state = state(&self.status.borrow(), self.forwarder.health());
        notes.chain([state]).collect::<Vec<_>>().join("; ")
    }

    /// Tells systemd whenever the line changes, for ever.
    pub(super) async fn tell(mut self) {
        let mut news = self.notes.0.subscribe();
        let mut told = String::new();
        loop {
            let text = self.text();
            if text != told {
                systemd::status(&text);
                told = text;
            }
            sleep(REST).await;
            tokio::select! {
                changed = self.status.changed() => if changed.is_err() { return },
                _ = news.changed() => {}
                () = self.forwarder.news() => {}
                () = sleep(LOOK) => {}
            }
        }
    }
}

fn state(status: &Status, (well, all): (usize, usize)) -> String {
    let sources = status.sources.iter().map(|(id, state)| match state {
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
        SourceState::Unreachable { served_from: ServedFrom::Nothing, .. } if status.optional.contains(id) => {
            format!("no {} on this host", id.name())
        }
        SourceState::Unreachable { reason, served_from: ServedFrom::Nothing, .. } => {
            format!("waiting for {}: {reason}", id.name())
        }
    });
    let upstreams = match (well, all) {
        (_, 0) => "no upstream".to_owned(),
        (0, 1) => "the upstream does not answer".to_owned(),
        (0, all) => format!("none of {all} upstreams answers"),
        (well, all) => format!("{well} of {all} upstreams well"),
    };
    let names = format!("{} names", status.names);
    [names].into_iter().chain(sources).chain([upstreams]).collect::<Vec<_>>().join("; ")
}

/// A time of day, in UTC: the line may stand for days, so the date goes along.
fn clock(at: SystemTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    OffsetDateTime::from(at).format(form).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceId;

    #[test]
    fn the_line_tells_each_state() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let line = |state: SourceState, upstreams| {
            let sources = [(SourceId::Etcd, state)].into_iter().collect();
            super::state(&Status { sources, names: 7, ..Status::default() }, upstreams)
        };
        let synced = SourceState::Synced { revision: Some(42), changed: at };
        assert_eq!(
            line(synced, (1, 2)),
            "7 names; etcd in sync at revision 42 of 2023-11-14 22:13:20Z; 1 of 2 upstreams well"
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
            line(SourceState::Snapshot { as_of: at }, (1, 1)),
            "7 names; snapshot of etcd of 2023-11-14 22:13:20Z; 1 of 1 upstreams well"
        );
        assert_eq!(
            line(lost(ServedFrom::Snapshot(at)), (0, 0)),
            "7 names; snapshot of etcd of 2023-11-14 22:13:20Z: refused; no upstream"
        );
        assert_eq!(
            line(SourceState::Waiting, (0, 1)),
            "7 names; waiting for etcd; the upstream does not answer"
        );
    }
}
