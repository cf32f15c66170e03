//! Keeping the latest state of a value on disk, by a thread of its own: nobody waits for the disk.

use super::tasks::spawn_thread;
use crate::lock::lock;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// After which time a write that failed is tried again if the value does not change: a full disk may have room again.
const RETRY_PERIOD: Duration = Duration::from_secs(30);

/// A value, and the thread that writes it. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Keeper<T> {
    present: Arc<Mutex<T>>,
    changed: Option<SyncSender<()>>,
}

impl<T: Clone + PartialEq + Send + 'static> Keeper<T> {
    /// A value that is not written.
    pub(super) fn without_file(present: T) -> Self {
        Self { present: Arc::new(Mutex::new(present)), changed: None }
    }

    /// Starts the thread. `write` is called for each change, and `report` after each write that fails or succeeds.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(super) fn start(
        thread: &str,
        present: T,
        write: impl Fn(&T) -> io::Result<()> + Send + 'static,
        report: impl FnMut(Option<String>) + Send + 'static,
    ) -> io::Result<Self> {
        let (changed, changes) = mpsc::sync_channel(1);
        let present = Arc::new(Mutex::new(present));
        let latest = Arc::clone(&present);
        spawn_thread(thread, move || keep(&latest, &changes, write, report))?;
        Ok(Self { present, changed: Some(changed) })
    }

    /// The value.
    pub(super) fn present(&self) -> T {
        lock(&self.present).clone()
    }

    /// Changes the value, and has it written.
    pub(super) fn note(&self, change: impl FnOnce(&mut T)) {
        change(&mut lock(&self.present));
        // If the channel is full, the thread will see this change as well.
        if let Some(changed) = &self.changed {
            let _ = changed.try_send(());
        }
    }
}

/// Writes the latest value after each change.
fn keep<T: Clone + PartialEq>(
    latest: &Mutex<T>,
    changes: &Receiver<()>,
    write: impl Fn(&T) -> io::Result<()>,
    mut report: impl FnMut(Option<String>),
) {
    let mut written = None;
    let mut has_failed = false;
    loop {
        let wait = if has_failed {
            changes.recv_timeout(RETRY_PERIOD)
        } else {
            changes.recv().map_err(RecvTimeoutError::from)
        };
        if wait == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        let latest = lock(latest).clone();
        if written.as_ref() == Some(&latest) {
            continue;
        }
        let problem = write(&latest).err().map(|error| error.to_string());
        has_failed = problem.is_some();
        written = (!has_failed).then_some(latest);
        report(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_value_is_written_and_one_that_is_written_is_not_again() {
        let (wrote, writes) = mpsc::channel();
        let write = move |value: &u32| wrote.send(*value).map_err(io::Error::other);
        let keeper = Keeper::start("kept", 0, write, |_| ()).expect("a keeper");
        for value in [1, 2, 2, 3, 3] {
            keeper.note(|present| *present = value);
        }
        assert_eq!(keeper.present(), 3);
        drop(keeper);
        let written: Vec<_> = writes.iter().collect();
        assert_eq!(written.last(), Some(&3), "{written:?}");
        assert!(written.windows(2).all(|pair| pair[0] < pair[1]), "{written:?}");
    }
}
