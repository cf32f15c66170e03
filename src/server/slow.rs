//! The slow way: queries that wait, on the runtime, a bounded number at once.

use super::datagrams::ReplyTo;
use super::handler::{Handler, Job};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Queries of UDP clients that wait at once; more are told SERVFAIL.
const MOST_WAITING: usize = 4_096;

/// The entrance to the slow way, for UDP workers.
#[derive(Clone, Debug)]
pub struct SlowWay {
    jobs: mpsc::Sender<(Job, ReplyTo)>,
}

impl SlowWay {
    /// Hands a query over; gives it back if too many wait.
    pub(super) fn take(&self, job: Job, reply_to: ReplyTo) -> Result<(), Box<(Job, ReplyTo)>> {
        self.jobs.try_send((job, reply_to)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back) => Box::new(back),
        })
    }
}

/// The slow way and the task that serves it until every entrance is dropped; what is under way then is
/// finished.
pub fn slow_way(handler: Arc<Handler>) -> (SlowWay, impl Future<Output = ()> + Send) {
    let (jobs, mut queue) = mpsc::channel::<(Job, ReplyTo)>(MOST_WAITING);
    let task = async move {
        let permits = Arc::new(Semaphore::new(MOST_WAITING));
        let mut waiting = JoinSet::new();
        loop {
            while waiting.try_join_next().is_some() {}
            let Some((job, reply_to)) = queue.recv().await else { break };
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
            let handler = Arc::clone(&handler);
            waiting.spawn(async move {
                let _permit = permit;
                reply_to.send(&handler.later(job).await);
            });
        }
        while waiting.join_next().await.is_some() {}
    };
    (SlowWay { jobs }, task)
}
