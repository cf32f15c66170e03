//! The thread that follows a directory: when what of it is read again.

use super::Files;
use super::control::{Request, Work};
use super::watch::DirectoryWatch;
use crate::heartbeat::Heartbeat;
use crate::source::event::Event;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Quiet time after a notification before the directory is read, so that a burst is read once.
const SETTLE_PAUSE: Duration = Duration::from_millis(10);

/// Minimum time between two walks through the whole directory without a notification: there is none for what a mount
/// brings, or another host changes.
const RESCAN_PERIOD: Duration = Duration::from_secs(30);

/// The same where the system gives no notifications.
const POLL_PERIOD: Duration = Duration::from_secs(2);

/// A walk through the whole directory is followed by a pause of so many times its length, with notifications and without.
const PAUSE_PER_WALK: (u32, u32) = (100, 20);

/// To look at what links lead to is followed by a pause of so many times its length: changes are read alone, and come first.
const PAUSE_PER_LOOK: u32 = 10;

/// How soon a half-written file is read again.
const HALF_WRITTEN_PAUSE: Duration = Duration::from_millis(200);

impl Files {
    /// Follows the directory until the mirror ends or [`FilesControl::stop`](super::FilesControl::stop).
    pub fn run(mut self, heartbeat: Heartbeat) {
        self.heartbeat = Some(heartbeat);
        let mut watch = DirectoryWatch::new(&self.settings, &self.control);
        let mut work = Work::all();
        let mut next_walk = Instant::now();
        // What a link leads to may have changed with any change.
        let (mut links_may_differ, mut next_look) = (false, Instant::now());
        loop {
            if watch.renew() {
                // What changed before the watch was not notified.
                work = Work::all();
            }
            let (started, is_all, has_links) = (Instant::now(), work.is_all(), work.has_links());
            links_may_differ = !is_all && !has_links && (links_may_differ || !work.is_empty());
            let mut again = self.control.take_again();
            let Ok(half_written) = self.read(work) else { return };
            again.add(half_written);
            if again.is_empty() && self.control.is_awaited() {
                let (visible, seen) = oneshot::channel();
                let Ok(()) = self.feed.push_blocking(Event::Publish { visible }) else { return };
                let _ = seen.blocking_recv();
                self.control.note_read();
            }
            if is_all {
                let length = started.elapsed();
                next_walk = Instant::now()
                    + match watch.is_on() {
                        true => RESCAN_PERIOD.max(length * PAUSE_PER_WALK.0),
                        false => POLL_PERIOD.max(length * PAUSE_PER_WALK.1),
                    };
            }
            if has_links {
                next_look = Instant::now() + started.elapsed() * PAUSE_PER_LOOK;
            }
            let look = (links_may_differ && !self.known.aliases.links().is_empty()).then_some(next_look);
            let Some(next) = self.wait(again, next_walk, look) else { return };
            work = next;
        }
    }

    /// Waits until there is something to read: what has to be read again, what is notified, or the whole directory at
    /// `next_walk`, or what links lead to at `next_look`. `None` to stop.
    fn wait(&self, again: Work, next_walk: Instant, next_look: Option<Instant>) -> Option<Work> {
        let beat = || self.heartbeat.iter().for_each(Heartbeat::beat);
        let soon = if again.is_empty() { next_walk } else { Instant::now() + HALF_WRITTEN_PAUSE };
        let soon = soon.min(next_walk).min(next_look.unwrap_or(next_walk));
        let mut work = again;
        loop {
            beat();
            match self.control.wait(soon) {
                Request::Stop => return None,
                Request::Wake => {}
                Request::Timeout => break,
                Request::Read(more) => {
                    work.add(more);
                    if !self.settle(&mut work) {
                        return None;
                    }
                    break;
                }
            }
        }
        if Instant::now() >= next_walk {
            work.add(Work::all());
        }
        if next_look.is_some_and(|next_look| Instant::now() >= next_look) {
            work.add(Work::links());
        }
        Some(work)
    }

    /// Adds what is notified within a short time: a burst is read once, but a burst without end is read as well, when a file
    /// has just come if that can be. Whoever puts files and removes them may remove it a moment later. `false` to stop.
    fn settle(&self, work: &mut Work) -> bool {
        let begin = Instant::now();
        let (early, end) = (begin + 2 * SETTLE_PAUSE, begin + 5 * SETTLE_PAUSE);
        while Instant::now() < end {
            match self.control.wait(Instant::now() + SETTLE_PAUSE) {
                Request::Stop => return false,
                Request::Wake => self.heartbeat.iter().for_each(Heartbeat::beat),
                Request::Read(more) => {
                    let has_come = more.has_come();
                    work.add(more);
                    if has_come && Instant::now() >= early {
                        break;
                    }
                }
                Request::Timeout => break,
            }
        }
        true
    }
}
