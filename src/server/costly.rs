//! Threads for work that is costly: what takes longer than others should wait on a worker or on the runtime.
//!
//! Clients take turns, one job each, so a client with many jobs holds up its own. The queue is bounded: when it is full, the
//! client with the most jobs in it loses one.

use super::origin::ClientId;
use crate::heartbeat::{Heartbeat, Heartbeats};
use crate::lock::lock;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Maximum number of jobs that wait for a thread. Each holds a query and, at most, one answer without its signatures.
const MAX_QUEUED: usize = 1_024;

/// How long a job may take, its wait included; clients ask again after 5 s at the latest.
const JOB_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a thread waits for a job until it beats.
const WAIT: Duration = Duration::from_millis(200);

type Work = Box<dyn FnOnce() + Send>;

/// The jobs that wait for the threads of one kind of work.
pub(super) struct CostlyPool {
    queue: Mutex<Queue>,
    ready: Condvar,
}

/// Why a job has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotDone;

/// Jobs by client; the first client's turn is next.
#[derive(Default)]
struct Queue {
    clients: VecDeque<(ClientId, VecDeque<Work>)>,
    len: usize,
    stopped: bool,
}

/// The threads of all pools.
#[derive(Debug)]
pub struct CostlyThreads {
    pools: Vec<Arc<CostlyPool>>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for CostlyPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CostlyPool({} jobs)", lock(&self.queue).len)
    }
}

impl CostlyPool {
    /// A pool without threads.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), ready: Condvar::new() })
    }

    /// Does work for a client on a thread of the pool, and waits for its result. Cancel safe: work that nobody waits for any
    /// more is not begun.
    ///
    /// # Errors
    /// The work was displaced by that of others, took too long, or panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        client: ClientId,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let (sender, receiver) = oneshot::channel();
        let job = move || {
            if !sender.is_closed() {
                let _ = sender.send(work());
            }
        };
        if lock(&self.queue).push(client, Box::new(job)) {
            self.ready.notify_one();
            return timeout(JOB_TIMEOUT, receiver).await.map_err(|_| NotDone)?.map_err(|_| NotDone);
        }
        Err(NotDone)
    }

    /// Does jobs until the pool is stopped and none is left; `panicked` is called for each job that panics.
    fn work(&self, heartbeat: &Heartbeat, panicked: &dyn Fn()) {
        loop {
            heartbeat.beat();
            let mut queue = lock(&self.queue);
            let job = queue.pop();
            if job.is_none() {
                if queue.stopped {
                    return;
                }
                drop(self.ready.wait_timeout(queue, WAIT).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            drop(queue);
            // Whoever waits for a job that panics sees that it has no result.
            if catch_unwind(AssertUnwindSafe(|| job.map(|job| job()))).is_err() {
                panicked();
            }
        }
    }

    fn stop(&self) {
        lock(&self.queue).stopped = true;
        self.ready.notify_all();
    }
}

impl Queue {
    /// Adds a job; `false` if there is no room for it.
    fn push(&mut self, client: ClientId, job: Work) -> bool {
        let own = self.clients.iter().position(|(other, _)| *other == client);
        if self.len >= MAX_QUEUED && !self.displace(own.map_or(0, |at| self.clients[at].1.len())) {
            return false;
        }
        match own {
            Some(at) => self.clients[at].1.push_back(job),
            None => self.clients.push_back((client, VecDeque::from([job]))),
        }
        self.len += 1;
        true
    }

    /// Drops the last job of the client that has the most, if these are more than one more than `own`.
    fn displace(&mut self, own: usize) -> bool {
        let most = self.clients.iter_mut().map(|(_, jobs)| jobs).max_by_key(|jobs| jobs.len());
        let displaced = most.filter(|jobs| jobs.len() > own + 1).and_then(VecDeque::pop_back);
        self.len -= usize::from(displaced.is_some());
        displaced.is_some()
    }

    /// The next job, of the client whose turn it is.
    fn pop(&mut self) -> Option<Work> {
        let (client, mut jobs) = self.clients.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.clients.push_back((client, jobs));
        }
        self.len -= usize::from(job.is_some());
        job
    }
}

impl CostlyThreads {
    /// Starts the threads of pools: for each pool its threads' name and how many there are. `panicked` is called for each job
    /// that panics.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(super) fn start(
        pools: &[(&'static str, &Arc<CostlyPool>, usize)],
        heartbeats: &Heartbeats,
        panicked: &(impl Fn() + Clone + Send + 'static),
    ) -> io::Result<Self> {
        let mut started = Self { pools: Vec::new(), threads: Vec::new() };
        for (name, pool, count) in pools {
            started.pools.push(Arc::clone(pool));
            for number in 0..*count {
                let (pool, panicked) = (Arc::clone(pool), panicked.clone());
                let heartbeat = heartbeats.monitor(format!("{name} thread {number}"));
                let work = move || pool.work(&heartbeat, &panicked);
                started.threads.push(thread::Builder::new().name(format!("{name}-{number}")).spawn(work)?);
            }
        }
        Ok(started)
    }

    /// Whether a thread ended without being asked to.
    pub fn any_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends the threads once each has done the jobs that wait.
    pub fn stop(self) {
        self.pools.iter().for_each(|pool| pool.stop());
        for thread in self.threads {
            if thread.join().is_err() {
                log::error!("a thread for costly work ended by a fault");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn client(last: u8) -> ClientId {
        ClientId::of([192, 0, 2, last].into())
    }

    /// A job that says who it is.
    fn job(said: &mpsc::Sender<&'static str>, what: &'static str) -> Work {
        let said = said.clone();
        Box::new(move || said.send(what).unwrap_or_default())
    }

    fn threads(
        pool: &Arc<CostlyPool>,
        count: usize,
        panicked: impl Fn() + Clone + Send + 'static,
    ) -> CostlyThreads {
        CostlyThreads::start(&[("costly", pool, count)], &Heartbeats::default(), &panicked).expect("threads")
    }

    #[test]
    fn clients_take_turns() {
        let (said, all) = mpsc::channel();
        let mut queue = Queue::default();
        for (of, what) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (3, "c2")] {
            assert!(queue.push(client(of), job(&said, what)));
        }
        while let Some(job) = queue.pop() {
            job();
        }
        assert_eq!(queue.len, 0);
        drop((queue, said));
        assert_eq!(all.iter().collect::<Vec<_>>(), ["a1", "b1", "c1", "a2", "c2", "a3"]);
    }

    #[test]
    fn who_has_the_most_makes_room() {
        let (said, all) = mpsc::channel();
        let mut queue = Queue::default();
        for _ in 0..MAX_QUEUED {
            assert!(queue.push(client(1), job(&said, "many")));
        }
        assert!(!queue.push(client(1), job(&said, "too many")), "for others, not for itself");
        assert!(queue.push(client(2), job(&said, "innocent")));
        assert_eq!(queue.len, MAX_QUEUED);
        for _ in 0..2 {
            queue.pop().into_iter().for_each(|job| job());
        }
        drop((queue, said));
        assert_eq!(all.iter().collect::<Vec<_>>(), ["many", "innocent"]);
    }

    #[tokio::test]
    async fn a_result_comes_back_and_a_panic_costs_its_job() {
        let pool = CostlyPool::new();
        let (panicked, panics) = mpsc::channel();
        let threads = threads(&pool, 1, move || panicked.send(()).unwrap_or_default());
        assert_eq!(pool.run(client(1), || 7).await, Ok(7));
        assert_eq!(
            pool.run(client(1), || panic!("a fault that a test asked for")).await,
            Err::<(), _>(NotDone)
        );
        assert_eq!(pool.run(client(1), || 8).await, Ok(8), "the thread goes on");
        assert!(!threads.any_ended());
        tokio::task::spawn_blocking(|| threads.stop()).await.expect("stopped");
        assert_eq!(panics.try_iter().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_nobody_waits_for_is_not_begun() {
        let pool = CostlyPool::new();
        let (said, all) = mpsc::channel();
        let slow = said.clone();
        let waited = pool.run(client(1), move || slow.send("late").unwrap_or_default()).await;
        assert_eq!(waited, Err(NotDone), "there is no thread");
        lock(&pool.queue).push(client(1), job(&said, "wanted"));
        drop(said);
        let threads = threads(&pool, 1, || {});
        assert_eq!(all.iter().collect::<Vec<_>>(), ["wanted"]);
        threads.stop();
    }
}
