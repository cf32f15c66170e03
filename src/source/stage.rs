//! Where readers see the tree, whichever mirror makes it.
//!
//! When the sources change at a reload, a new mirror fills its tree out of sight; it comes on the stage whole, and the
//! one before goes. Readers keep their handles.

use super::refusals::Refusals;
use super::state::{Published, Status};
use crate::lock::lock;
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// See the module's text.
#[derive(Debug)]
pub struct Stage {
    published: Arc<ArcSwap<Published>>,
    refusals: ArcSwap<Refusals>,
    status: watch::Sender<Status>,
    acts: Mutex<Acts>,
}

#[derive(Debug, Default)]
struct Acts {
    /// Mirrors so far.
    count: u64,
    /// The one that is seen.
    seen: u64,
}

/// A mirror's place: what it publishes is seen while it is its turn.
#[derive(Debug)]
pub(super) struct Act {
    stage: Arc<Stage>,
    number: u64,
    latest: Arc<ArcSwap<Published>>,
    refusals: Arc<Refusals>,
    status: watch::Sender<Status>,
}

impl Stage {
    /// An empty stage.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            published: Arc::default(),
            refusals: ArcSwap::default(),
            status: watch::Sender::new(Status::default()),
            acts: Mutex::default(),
        })
    }

    /// Where the states appear.
    pub fn published(&self) -> Arc<ArcSwap<Published>> {
        Arc::clone(&self.published)
    }

    /// The records that are not served.
    pub fn refusals(&self) -> Arc<Refusals> {
        self.refusals.load_full()
    }

    /// How the sources are doing, and the configuration they hold.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// A place for one more mirror. The first one is seen at once, another when it is [raised](Self::raise).
    pub(super) fn act(self: &Arc<Self>) -> Act {
        let mut acts = self.lock();
        acts.count += 1;
        let act = Act {
            stage: Arc::clone(self),
            number: acts.count,
            latest: Arc::default(),
            refusals: Arc::default(),
            status: watch::Sender::new(Status::default()),
        };
        if acts.count == 1 {
            acts.seen = 1;
            self.refusals.store(Arc::clone(&act.refusals));
        }
        act
    }

    /// Shows a mirror in the place of the one that is seen.
    pub fn raise(&self, front: &Front) {
        let mut acts = self.lock();
        acts.seen = front.number;
        self.refusals.store(Arc::clone(&front.refusals));
        self.published.store(front.latest.load_full());
        self.status.send_replace(front.status.borrow().clone());
    }

    fn lock(&self) -> MutexGuard<'_, Acts> {
        lock(&self.acts)
    }
}

/// What others know of a mirror that runs.
#[derive(Clone, Debug)]
pub struct Front {
    number: u64,
    latest: Arc<ArcSwap<Published>>,
    refusals: Arc<Refusals>,
    pub(super) status: watch::Receiver<Status>,
}

impl Front {
    /// Its latest state, whether it is seen or not.
    pub(super) fn published(&self) -> Arc<Published> {
        self.latest.load_full()
    }

    /// How its sources are doing, whether it is seen or not.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

impl Act {
    pub(super) fn front(&self) -> Front {
        Front {
            number: self.number,
            latest: Arc::clone(&self.latest),
            refusals: Arc::clone(&self.refusals),
            status: self.status.subscribe(),
        }
    }

    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Publishes a state.
    pub(super) fn publish(&self, published: Published, status: &Status) {
        let published = Arc::new(published);
        let replace = |present: &mut Status| {
            let news = present != status;
            present.clone_from(status);
            news
        };
        let acts = self.stage.lock();
        let seen = acts.seen == self.number;
        self.latest.store(Arc::clone(&published));
        // The tree before the word of it: who hears that a source is in step begins to answer.
        if seen {
            self.stage.published.store(published);
            self.stage.status.send_if_modified(replace);
        }
        self.status.send_if_modified(replace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    #[test]
    fn the_tree_is_there_before_the_word_of_it() {
        let stage = Stage::new();
        let act = stage.act();
        let front = act.front();
        const TIMES: u32 = 5_000;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for time in 1..=TIMES {
                    let mut tree = Tree::new();
                    tree.set_serial(time);
                    let status = Status { names: time as usize, ..Status::default() };
                    act.publish(Published { tree, ..Published::default() }, &status);
                }
            });
            let status = front.status();
            loop {
                let names = status.borrow().names;
                assert!(stage.published().load().tree.serial() as usize >= names);
                assert!(stage.status().borrow().names >= names);
                if names == TIMES as usize {
                    break;
                }
            }
        });
    }

    #[test]
    fn another_mirror_is_seen_whole_or_not_at_all() {
        let stage = Stage::new();
        let (first, second) = (stage.act(), stage.act());
        let names = |names| Status { names, ..Status::default() };
        first.publish(Published::default(), &names(1));
        second.publish(Published::default(), &names(2));
        assert_eq!(stage.status().borrow().names, 1);
        stage.raise(&second.front());
        assert_eq!(stage.status().borrow().names, 2);
        first.publish(Published::default(), &names(3));
        assert_eq!(stage.status().borrow().names, 2);
    }
}
