//! Whether the v2 API of a store is read, where nobody has said so: the two sources of one store tell each other what they
//! found.
//!
//! Data that a move to v3 has left behind must not come back to life, so v2 is read only where v3 holds nothing, where a move is
//! under way, or where it was read before. What was decided holds until the next start.

use super::error::EtcdError;
use crate::source::event::Event;
use crate::source::feed::{Closed, Feed};
use crate::source::id::SourceId;
use crate::source::state::{SourceState, Status};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// What is known of the v3 API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum V3Seen {
    #[default]
    Nothing,
    /// It could not be read up to now.
    Unreachable,
    /// The servers do not have it.
    Absent,
    /// It was listed.
    Listed {
        /// Whether v2 is to be read: v3 holds no service, or a move from v2 is under way.
        wants_v2: bool,
    },
}

/// What the settings say of v2.
#[derive(Clone, Copy, Debug, Default)]
pub struct UseOfV2 {
    /// Somebody has asked for it: it is read in any case.
    pub is_asked_for: bool,
    /// Names are not denied before it was read, if it turns out to be needed.
    pub is_required: bool,
    /// It was in use before: nothing gives it up but a setting.
    pub was_in_use: bool,
}

/// Ties the two sources of one store together. Clones share what was seen.
#[derive(Clone, Debug)]
pub struct BothApis {
    v2: Feed,
    v3: Feed,
    seen: Arc<watch::Sender<V3Seen>>,
    /// Whether v2 was listed.
    has_v2: Arc<AtomicBool>,
    use_of_v2: UseOfV2,
    /// Becomes `true` when the snapshot is served, or cannot be.
    loaded: watch::Receiver<bool>,
    status: watch::Receiver<Status>,
}

impl BothApis {
    /// The feeds of v2 and v3; what becomes `true` when the snapshot was loaded, or cannot be; and the status of the mirror.
    pub fn new(
        (v2, v3): (Feed, Feed),
        use_of_v2: UseOfV2,
        loaded: watch::Receiver<bool>,
        status: watch::Receiver<Status>,
    ) -> Self {
        let (seen, has_v2) = Default::default();
        Self { v2, v3, seen, has_v2, use_of_v2, loaded, status }
    }

    /// Whether somebody has asked for v2.
    pub(super) fn is_asked_for(&self) -> bool {
        self.use_of_v2.is_asked_for
    }

    /// Notes that v3 was listed. It is to be called before the mirror is told that v3 is in sync: from then on names are denied
    /// that v3 has not.
    pub(super) async fn note_listed(&self, wants_v2: bool) -> Result<(), Closed> {
        if wants_v2 && self.is_open() {
            self.need_v2().await?;
        }
        self.note(V3Seen::Listed { wants_v2 });
        Ok(())
    }

    /// Notes that v3 could not be read: because the servers do not have it, or for another reason.
    pub(super) async fn note_failed(&self, is_absent: bool) -> Result<(), Closed> {
        if is_absent && self.is_open() {
            self.need_v2().await?;
        }
        self.note(if is_absent { V3Seen::Absent } else { V3Seen::Unreachable });
        self.give_v3_up().await
    }

    /// Notes that v2 is needed, if anybody would miss it.
    async fn need_v2(&self) -> Result<(), Closed> {
        if self.use_of_v2.is_required {
            self.v2.push(Event::Needed).await?;
        }
        Ok(())
    }

    /// Where the servers have no v3 API, and v2 was read, nobody waits for v3.
    async fn give_v3_up(&self) -> Result<(), Closed> {
        if *self.seen.borrow() == V3Seen::Absent && self.has_v2.load(Ordering::SeqCst) {
            let reason = "etcd has no v3 API there".to_owned();
            self.v3.push(Event::Unused { reason, is_refused: false }).await?;
        }
        Ok(())
    }

    /// Whether v3 has not decided anything yet.
    fn is_open(&self) -> bool {
        !matches!(*self.seen.borrow(), V3Seen::Listed { .. })
    }

    fn note(&self, seen: V3Seen) {
        self.seen.send_if_modified(|present| {
            // The first listing decides.
            let is_news = !matches!(present, V3Seen::Listed { .. }) && *present != seen;
            if is_news {
                *present = seen;
            }
            is_news
        });
    }

    /// Waits until it is known whether v2 is read.
    pub(super) async fn decided(&mut self) -> Result<bool, Closed> {
        // A thread that ends without a word has loaded nothing.
        let _ = self.loaded.wait_for(|is_loaded| *is_loaded).await;
        if self.was_read() {
            self.need_v2().await?;
            return Ok(true);
        }
        let mut seen = self.seen.subscribe();
        loop {
            let now = *seen.borrow_and_update();
            match now {
                V3Seen::Listed { wants_v2 } => return Ok(wants_v2),
                V3Seen::Absent => return Ok(true),
                V3Seen::Unreachable => {
                    let reason =
                        "not asked before v3 was read, which decides whether v2 is needed".to_owned();
                    self.v2.push(Event::Unreachable(reason)).await?;
                }
                V3Seen::Nothing => {}
            }
            // The sender is our own.
            let _ = seen.changed().await;
        }
    }

    /// Whether v2 was read before: by these sources, by those before them, or as the snapshot shows.
    pub(super) fn was_read(&self) -> bool {
        self.use_of_v2.was_in_use
            || self.status.borrow().sources.get(&SourceId::EtcdV2).is_some_and(SourceState::is_served)
    }

    /// Notes that v2 was listed.
    pub(super) async fn note_v2_listed(&self) -> Result<(), Closed> {
        // One of the two sources sees what the other one has noted.
        self.has_v2.store(true, Ordering::SeqCst);
        self.give_v3_up().await
    }
}

/// Whether the servers do not have the v3 API: all that answered say so. At the endpoints where etcd is looked for without
/// being told, a port where nobody listens says nothing.
pub(super) fn is_v3_absent(errors: &[(String, EtcdError)], are_default: bool) -> bool {
    let says_so = |error: &EtcdError| matches!(error, EtcdError::NoV3 { .. });
    let is_refused = |error: &EtcdError| error.to_string().contains("(connection refused)");
    errors.iter().any(|(_, error)| says_so(error))
        && errors.iter().all(|(_, error)| says_so(error) || are_default && is_refused(error))
}
