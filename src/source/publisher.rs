//! Where readers see the tree, whichever mirror fills it.
//!
//! When a reload changes the sources, a new mirror fills a tree that readers do not see yet; [`Publisher::promote`]
//! puts it in the place of the one before. Readers keep their handles.

use super::refusals::Refusals;
use super::state::{Published, Status};
use crate::lock::lock;
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// See the module's text.
#[derive(Debug)]
pub struct Publisher {
    published: Arc<ArcSwap<Published>>,
    refusals: ArcSwap<Refusals>,
    status: watch::Sender<Status>,
    numbers: Mutex<MirrorNumbers>,
}

#[derive(Debug, Default)]
struct MirrorNumbers {
    /// Mirrors so far.
    count: u64,
    /// The one that is visible.
    visible: u64,
}

/// A mirror's place: what it publishes is visible while it is its turn.
#[derive(Debug)]
pub(super) struct MirrorWriter {
    publisher: Arc<Publisher>,
    number: u64,
    latest: Arc<ArcSwap<Published>>,
    refusals: Arc<Refusals>,
    status: watch::Sender<Status>,
}

impl Publisher {
    /// An empty publisher.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            published: Arc::default(),
            refusals: ArcSwap::default(),
            status: watch::Sender::new(Status::default()),
            numbers: Mutex::default(),
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

    /// A place for one more mirror. The first one is visible at once, another when it is [raised](Self::raise).
    pub(super) fn writer(self: &Arc<Self>) -> MirrorWriter {
        let mut numbers = self.lock();
        numbers.count += 1;
        let writer = MirrorWriter {
            publisher: Arc::clone(self),
            number: numbers.count,
            latest: Arc::default(),
            refusals: Arc::default(),
            status: watch::Sender::new(Status::default()),
        };
        if numbers.count == 1 {
            numbers.visible = 1;
            self.refusals.store(Arc::clone(&writer.refusals));
        }
        writer
    }

    /// Shows a mirror in the place of the one that is visible.
    pub fn promote(&self, handle: &MirrorHandle) {
        let mut numbers = self.lock();
        numbers.visible = handle.number;
        self.refusals.store(Arc::clone(&handle.refusals));
        self.published.store(handle.latest.load_full());
        self.status.send_replace(handle.status.borrow().clone());
    }

    fn lock(&self) -> MutexGuard<'_, MirrorNumbers> {
        lock(&self.numbers)
    }
}

/// What others know of a mirror that runs.
#[derive(Clone, Debug)]
pub struct MirrorHandle {
    number: u64,
    latest: Arc<ArcSwap<Published>>,
    refusals: Arc<Refusals>,
    pub(super) status: watch::Receiver<Status>,
}

impl MirrorHandle {
    /// Its latest state, whether it is visible or not.
    pub(super) fn published(&self) -> Arc<Published> {
        self.latest.load_full()
    }

    /// How its sources are doing, whether it is visible or not.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

impl MirrorWriter {
    pub(super) fn handle(&self) -> MirrorHandle {
        MirrorHandle {
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
        let numbers = self.publisher.lock();
        let visible = numbers.visible == self.number;
        self.latest.store(Arc::clone(&published));
        // The tree before the word of it: who hears that a source is in step begins to answer.
        if visible {
            self.publisher.published.store(published);
            self.publisher.status.send_if_modified(replace);
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
        let publisher = Publisher::new();
        let writer = publisher.writer();
        let handle = writer.handle();
        const TIMES: u32 = 5_000;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for time in 1..=TIMES {
                    let mut tree = Tree::new();
                    tree.set_serial(time);
                    let status = Status { names: time as usize, ..Status::default() };
                    writer.publish(Published { tree, ..Published::default() }, &status);
                }
            });
            let status = handle.status();
            loop {
                let names = status.borrow().names;
                assert!(publisher.published().load().tree.serial() as usize >= names);
                assert!(publisher.status().borrow().names >= names);
                if names == TIMES as usize {
                    break;
                }
            }
        });
    }

    #[test]
    fn another_mirror_is_seen_whole_or_not_at_all() {
        let publisher = Publisher::new();
        let (first, second) = (publisher.writer(), publisher.writer());
        let names = |names| Status { names, ..Status::default() };
        first.publish(Published::default(), &names(1));
        second.publish(Published::default(), &names(2));
        assert_eq!(publisher.status().borrow().names, 1);
        publisher.promote(&second.handle());
        assert_eq!(publisher.status().borrow().names, 2);
        first.publish(Published::default(), &names(3));
        assert_eq!(publisher.status().borrow().names, 2);
    }
}
