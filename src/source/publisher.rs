//! Where readers see the tree, whichever mirror fills it.
//!
//! When a reload changes the sources, a new mirror fills a tree that readers do not see yet; [`Publisher::promote`]
//! puts it in the place of the one before. Readers keep their handles.

use super::refusals::Refusals;
use super::state::{Published, Status};
use crate::answer::Site;
use crate::lock::lock;
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// The one place where readers find the published state. A reader gets the parts once, and finds every later state in
/// them.
///
/// The order in which readers see the parts is a promise; it is written at `MirrorWriter::publish`.
#[derive(Debug)]
pub struct Publisher {
    published: Arc<ArcSwap<Published>>,
    refusals: ArcSwap<Refusals>,
    status: watch::Sender<Status>,
    /// What the site serves, for the mirrors.
    site: watch::Sender<Option<Arc<Site>>>,
    /// How often an operator has let go what is served on, for the mirrors.
    accepts: watch::Sender<u64>,
    /// Held while a state is published or a mirror is promoted, so that the parts of two mirrors never mix.
    numbers: Mutex<MirrorNumbers>,
}

/// Which mirrors there are.
#[derive(Debug, Default)]
struct MirrorNumbers {
    /// The number of the newest mirror; the first has number 1.
    newest: u64,
    /// The number of the mirror whose states readers see.
    visible: u64,
}

impl Publisher {
    /// A publisher that no mirror has published anything to.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            published: Arc::default(),
            refusals: ArcSwap::default(),
            status: watch::Sender::new(Status::default()),
            site: watch::Sender::new(None),
            accepts: watch::Sender::new(0),
            numbers: Mutex::default(),
        })
    }

    /// The published state, now and in the future.
    pub fn published(&self) -> Arc<ArcSwap<Published>> {
        Arc::clone(&self.published)
    }

    /// The entries that are not served, of the mirror that is visible now.
    pub fn refusals(&self) -> Arc<Refusals> {
        self.refusals.load_full()
    }

    /// The condition of the sources and the configuration that they hold, now and in the future.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Tells the mirrors what the site serves: they keep serials and freshness by zone. Before that all names are as one.
    pub fn set_site(&self, site: &Arc<Site>) {
        self.site.send_if_modified(|present| {
            let is_news = present.as_ref().is_none_or(|present| !Arc::ptr_eq(present, site));
            *present = Some(Arc::clone(site));
            is_news
        });
    }

    /// What the site serves, as the mirrors were told.
    pub fn site(&self) -> Option<Arc<Site>> {
        self.site.borrow().clone()
    }

    /// Tells the mirrors that the losses were meant after which names are served on (`-hold-mass-deletion`).
    pub fn accept_losses(&self) {
        self.accepts.send_modify(|accepts| *accepts += 1);
    }

    /// The writing end for one more mirror. The first mirror is visible at once, another when it is
    /// [promoted](Self::promote).
    pub(super) fn writer(self: &Arc<Self>) -> MirrorWriter {
        let mut numbers = self.lock();
        numbers.newest += 1;
        let writer = MirrorWriter {
            publisher: Arc::clone(self),
            number: numbers.newest,
            latest: Arc::default(),
            refusals: Arc::default(),
            status: watch::Sender::new(Status::default()),
        };
        if numbers.newest == 1 {
            numbers.visible = 1;
            self.refusals.store(Arc::clone(&writer.refusals));
        }
        writer
    }

    /// Makes a mirror visible in the place of the present one, whose later states nobody sees.
    pub fn promote(&self, handle: &MirrorHandle) {
        let mut numbers = self.lock();
        numbers.visible = handle.number;
        self.refusals.store(Arc::clone(&handle.refusals));
        // In the order of `MirrorWriter::publish`.
        self.published.store(handle.latest.load_full());
        self.status.send_replace(handle.status.borrow().clone());
    }

    fn lock(&self) -> MutexGuard<'_, MirrorNumbers> {
        lock(&self.numbers)
    }
}

/// The writing end of one mirror: what the mirror publishes is visible while it is the promoted one.
#[derive(Debug)]
pub(super) struct MirrorWriter {
    publisher: Arc<Publisher>,
    number: u64,
    latest: Arc<ArcSwap<Published>>,
    refusals: Arc<Refusals>,
    status: watch::Sender<Status>,
}

impl MirrorWriter {
    /// What the site serves, now and in the future.
    pub(super) fn site(&self) -> watch::Receiver<Option<Arc<Site>>> {
        self.publisher.site.subscribe()
    }

    /// How often losses were accepted, now and in the future.
    pub(super) fn accepts(&self) -> watch::Receiver<u64> {
        self.publisher.accepts.subscribe()
    }

    /// The reading end of this mirror.
    pub(super) fn handle(&self) -> MirrorHandle {
        MirrorHandle {
            number: self.number,
            latest: Arc::clone(&self.latest),
            refusals: Arc::clone(&self.refusals),
            status: self.status.subscribe(),
        }
    }

    /// The refusals of this mirror.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Publishes a state of this mirror.
    ///
    /// The mirror, the publisher and the readers rely on three rules:
    /// - Versions before the tree. The mirror notes the version of a changed name in the tree's `Versions` before it
    ///   publishes the tree with the change, so a reader of the new tree finds the new version and drops every cached reply
    ///   that depends on the name. The other way round, a reader of the tree before may see a version that is newer than
    ///   its tree: that costs a cached reply, and serves none that is wrong.
    /// - The tree before the status. Whoever learns from the status that a source is in sync may answer queries at once,
    ///   and does so from the tree of that state or a later one.
    /// - One mirror at a time. The tree and the status that readers see are of the same mirror; a promoted mirror brings a
    ///   tree with `Versions` of its own, by which caches know that nothing cached before is valid.
    pub(super) fn publish(&self, published: Published, status: &Status) {
        let published = Arc::new(published);
        let replace = |present: &mut Status| {
            let is_news = present != status;
            present.clone_from(status);
            is_news
        };
        let numbers = self.publisher.lock();
        let is_visible = numbers.visible == self.number;
        self.latest.store(Arc::clone(&published));
        if is_visible {
            self.publisher.published.store(published);
            self.publisher.status.send_if_modified(replace);
        }
        self.status.send_if_modified(replace);
    }
}

/// The reading end of one mirror, whether the mirror is visible or not.
#[derive(Clone, Debug)]
pub struct MirrorHandle {
    number: u64,
    latest: Arc<ArcSwap<Published>>,
    refusals: Arc<Refusals>,
    status: watch::Receiver<Status>,
}

impl MirrorHandle {
    /// The mirror's latest state.
    pub(super) fn published(&self) -> Arc<Published> {
        self.latest.load_full()
    }

    /// The condition of the mirror's sources.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    #[test]
    fn the_tree_is_published_before_the_status() {
        let publisher = Publisher::new();
        let writer = publisher.writer();
        let handle = writer.handle();
        const STATES: u32 = 5_000;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for serial in 1..=STATES {
                    let mut tree = Tree::new();
                    tree.set_serial(serial);
                    let status = Status { names: serial as usize, ..Status::default() };
                    writer.publish(Published { tree, ..Published::default() }, &status);
                }
            });
            let status = handle.status();
            loop {
                let names = status.borrow().names;
                assert!(publisher.published().load().tree.serial() as usize >= names);
                assert!(publisher.status().borrow().names >= names);
                if names == STATES as usize {
                    break;
                }
            }
        });
    }

    #[test]
    fn another_mirror_becomes_visible_as_a_whole() {
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
