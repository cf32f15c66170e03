//! The long-lived tasks and threads: each has a name and a heartbeat, and none may end unasked.

use crate::heartbeat::Heartbeats;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};

/// How often threads are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The long-lived tasks by name.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    set: JoinSet<Option<&'static str>>,
    heartbeats: Heartbeats,
}

/// Whether some tasks are asked to end.
#[derive(Clone, Debug, Default)]
pub(super) struct ExpectedEnd(Arc<AtomicBool>);

impl ExpectedEnd {
    /// From now on their end is no fault.
    pub(super) fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_announced(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tasks {
    /// The beats of all that runs for long.
    pub(super) fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// Starts a task that is to run for ever.
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_until(name, &ExpectedEnd::default(), task);
    }

    /// Starts a task that is to run until its end is expected.
    pub(super) fn spawn_until(
        &mut self,
        name: &'static str,
        expected_end: &ExpectedEnd,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let (heartbeat, expected_end) = (self.heartbeats.monitor(name), expected_end.clone());
        self.set.spawn(async move {
            heartbeat.beat_beside(task).await;
            (!expected_end.is_announced()).then_some(name)
        })
    }

    /// Makes the end of a thread the end of a task, so that it is seen.
    pub(super) fn watch_thread(
        &mut self,
        name: &'static str,
        expected_end: &ExpectedEnd,
        thread: JoinHandle<()>,
    ) {
        self.spawn_until(name, expected_end, async move {
            while !thread.is_finished() {
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    /// Waits until a task ends that was not asked to, and returns its name.
    pub(super) async fn failed(&mut self) -> &'static str {
        loop {
            match self.set.join_next().await {
                Some(Ok(None)) => {}
                Some(Ok(Some(name))) => return name,
                // Only sources whose end is expected are aborted.
                Some(Err(error)) if error.is_cancelled() => {}
                Some(Err(_)) => return "a task",
                None => std::future::pending().await,
            }
        }
    }
}

/// Starts a thread with a name.
///
/// # Errors
/// The system has no thread to give.
pub(super) fn spawn_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}
