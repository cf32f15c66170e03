//! The long-lived tasks and threads: each has a name and a heartbeat, and none may end without being asked to.

use crate::heartbeat::Heartbeats;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

/// Time from one check whether a thread has ended to the next.
const THREAD_POLL: Duration = Duration::from_secs(1);

/// The running tasks and watched threads.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    set: JoinSet<Option<&'static str>>,
    heartbeats: Heartbeats,
}

/// A flag that a group of tasks was asked to end, so that their end is no fault. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct ExpectedEnd(Arc<AtomicBool>);

impl ExpectedEnd {
    /// Sets the flag.
    pub(super) fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag is set.
    fn is_announced(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tasks {
    /// The heartbeats of all tasks and threads.
    pub(super) fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// Starts a task that must not end.
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_until(name, &ExpectedEnd::default(), task);
    }

    /// Starts a task that must not end before its end is expected.
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

    /// As [`Self::spawn_until`], on a thread of its own with a runtime: the task may sleep as a thread does.
    pub(super) fn spawn_apart(
        &mut self,
        (name, thread_name): (&'static str, &'static str),
        expected_end: &ExpectedEnd,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let (heartbeat, expected_end) = (self.heartbeats.monitor(name), expected_end.clone());
        // The thread ends with this task, and this task with the thread.
        let (abort, aborted) = oneshot::channel::<Infallible>();
        let (ended, end) = oneshot::channel::<Infallible>();
        let run = move || {
            let _ended = ended;
            match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => InBackground(Some(runtime)).block_on(async {
                    tokio::select! {
                        () = heartbeat.beat_beside(task) => {}
                        _ = aborted => {}
                    }
                }),
                Err(error) => log::error!("{name}: no runtime: {error}"),
            }
        };
        self.set.spawn(async move {
            let _abort = abort;
            match spawn_thread(thread_name, run) {
                Ok(_) => drop(end.await),
                Err(error) => log::error!("{name}: no thread: {error}"),
            }
            (!expected_end.is_announced()).then_some(name)
        })
    }

    /// Watches a thread, by a task that ends when the thread does.
    pub(super) fn watch_thread(
        &mut self,
        name: &'static str,
        expected_end: &ExpectedEnd,
        thread: JoinHandle<()>,
    ) {
        self.spawn_until(name, expected_end, async move {
            while !thread.is_finished() {
                tokio::time::sleep(THREAD_POLL).await;
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

/// A runtime that waits for no work that blocks when it ends, such as looking up a name.
struct InBackground(Option<Runtime>);

impl InBackground {
    fn block_on(&self, task: impl Future<Output = ()>) {
        if let Some(runtime) = &self.0 {
            runtime.block_on(task);
        }
    }
}

impl Drop for InBackground {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
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
