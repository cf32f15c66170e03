//! Heartbeats of the long-lived threads and tasks, by which the watchdog finds those that have stalled.
//!
//! A heartbeat is a counter that its thread or task increases in each round of its loop. The watchdog reads all counters
//! ([`Heartbeats::counts`]), and some time later asks which of them have not changed ([`HeartbeatCounts::stalled`]).
//! What follows from a stall is the watchdog's decision.

use crate::lock::lock;
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

/// How often the heartbeat of a task counts up while the task itself waits.
const TASK_PERIOD: Duration = Duration::from_millis(300);

/// The heartbeats of all monitored threads and tasks. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats {
    monitored: Arc<Mutex<Vec<Weak<Monitored>>>>,
}

/// The heartbeat of one thread or task, which is monitored until this is dropped.
#[derive(Debug)]
pub struct Heartbeat(Arc<Monitored>);

/// A heartbeat as the monitoring side has it.
struct Monitored {
    name: String,
    count: AtomicU64,
    /// Gives a sleeping thread work that ends in a beat.
    wake: Option<Box<dyn Fn() + Send + Sync>>,
    /// How long the count may stay the same before the thread or task has stalled.
    max_pause: Duration,
    /// The last count that differed from the one before, and when the difference was found.
    last_change: Mutex<(u64, Instant)>,
}

impl fmt::Debug for Monitored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitored")
            .field("name", &self.name)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// The counts of all heartbeats at one time.
#[derive(Debug, Default)]
pub struct HeartbeatCounts(Vec<(Weak<Monitored>, u64)>);

impl Heartbeats {
    /// Monitors a thread or task that beats by itself at least every few hundred milliseconds.
    pub fn monitor(&self, name: impl Into<String>) -> Heartbeat {
        self.add(name.into(), None, Duration::ZERO)
    }

    /// Monitors a thread that sleeps until there is work: `wake` must give it work that ends in a beat, and not wait.
    ///
    /// The thread may go without a beat for `max_pause`, on a slow disk for example: a restart would not make the disk
    /// faster.
    pub fn monitor_sleeper(
        &self,
        name: impl Into<String>,
        max_pause: Duration,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Heartbeat {
        self.add(name.into(), Some(Box::new(wake)), max_pause)
    }

    fn add(&self, name: String, wake: Option<Box<dyn Fn() + Send + Sync>>, max_pause: Duration) -> Heartbeat {
        let last_change = Mutex::new((0, Instant::now()));
        let monitored = Arc::new(Monitored { name, count: AtomicU64::new(0), wake, max_pause, last_change });
        self.lock().push(Arc::downgrade(&monitored));
        Heartbeat(monitored)
    }

    /// Reads all counts, and wakes the threads that sleep, so that they beat before the counts are compared.
    pub fn counts(&self) -> HeartbeatCounts {
        let mut monitored = self.lock();
        monitored.retain(|monitored| monitored.strong_count() > 0);
        let living = monitored.iter().filter_map(|weak| Some((weak.clone(), weak.upgrade()?)));
        HeartbeatCounts(
            living
                .map(|(weak, monitored)| {
                    let count = monitored.count.load(Relaxed);
                    monitored.wake.iter().for_each(|wake| wake());
                    (weak, count)
                })
                .collect(),
        )
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Monitored>>> {
        lock(&self.monitored)
    }
}

impl HeartbeatCounts {
    /// The names of the threads and tasks that have not beaten since these counts were taken.
    pub fn stalled(&self) -> Vec<String> {
        let living = self.0.iter().filter_map(|(monitored, count)| Some((monitored.upgrade()?, count)));
        living
            .filter(|(monitored, count)| monitored.has_stalled(**count))
            .map(|(monitored, _)| monitored.name.clone())
            .collect()
    }
}

impl Monitored {
    /// Whether the count is still `count`, and has not changed for longer than `max_pause`.
    fn has_stalled(&self, count: u64) -> bool {
        let now = self.count.load(Relaxed);
        let mut last_change = lock(&self.last_change);
        if last_change.0 != now {
            *last_change = (now, Instant::now());
        }
        now == count && last_change.1.elapsed() >= self.max_pause
    }
}

impl Heartbeat {
    /// Increases the count. Only one thread calls this, so no atomic read-modify-write is needed.
    pub fn beat(&self) {
        self.0.count.store(self.0.count.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Runs a future, and beats beside it in the same task: while the future blocks the task, the heartbeat stops.
    pub async fn beat_beside<T>(self, task: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            result = task => result,
            // Unconstrained, because a busy future may use up the cooperative budget that the runtime gives the task.
            never = tokio::task::unconstrained(self.beat_forever()) => match never {},
        }
    }

    /// Beats every [`TASK_PERIOD`].
    async fn beat_forever(&self) -> Infallible {
        loop {
            self.beat();
            tokio::time::sleep(TASK_PERIOD).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_stalls_is_named() {
        let heartbeats = Heartbeats::default();
        let (moving, still) = (heartbeats.monitor("moving"), heartbeats.monitor("still"));
        let counts = heartbeats.counts();
        moving.beat();
        assert_eq!(counts.stalled(), ["still"]);
        drop(still);
        assert_eq!(counts.stalled(), [""; 0]);
        assert_eq!(heartbeats.counts().stalled(), ["moving"]);
    }

    #[test]
    fn a_sleeper_is_woken() {
        let heartbeats = Heartbeats::default();
        let (woken, wakes) = std::sync::mpsc::channel();
        let sleeper =
            heartbeats.monitor_sleeper("sleeper", Duration::ZERO, move || woken.send(()).unwrap_or_default());
        let counts = heartbeats.counts();
        assert_eq!(counts.stalled(), ["sleeper"]);
        wakes.recv().expect("a wake");
        sleeper.beat();
        assert_eq!(counts.stalled(), [""; 0]);
    }

    #[test]
    fn a_disk_may_take_its_time() {
        let heartbeats = Heartbeats::default();
        let _files = heartbeats.monitor_sleeper("files", Duration::from_secs(3600), || {});
        assert_eq!(heartbeats.counts().stalled(), [""; 0]);
        let _mirror = heartbeats.monitor_sleeper("mirror", Duration::ZERO, || {});
        assert_eq!(heartbeats.counts().stalled(), ["mirror"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_beats_as_long_as_it_can_be_polled() {
        let heartbeats = Heartbeats::default();
        let heartbeat = heartbeats.monitor("task");
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(heartbeat.beat_beside(std::future::pending::<()>()));
        tokio::time::sleep(TASK_PERIOD).await;
        let counts = heartbeats.counts();
        tokio::time::sleep(2 * TASK_PERIOD).await;
        assert_eq!(counts.stalled(), [""; 0]);
    }

    #[tokio::test]
    async fn a_task_that_is_busy_all_the_time_beats() {
        let heartbeats = Heartbeats::default();
        let heartbeat = heartbeats.monitor("busy");
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (heartbeats, stopped) = (heartbeats.clone(), Arc::clone(&stop));
        let watch = std::thread::spawn(move || {
            std::thread::sleep(TASK_PERIOD);
            let counts = heartbeats.counts();
            std::thread::sleep(3 * TASK_PERIOD);
            let stalled = counts.stalled();
            stopped.store(true, Relaxed);
            stalled
        });
        // Uses up the cooperative budget at each poll.
        heartbeat
            .beat_beside(async {
                while !stop.load(Relaxed) {
                    tokio::task::consume_budget().await;
                }
            })
            .await;
        assert!(watch.join().expect("the names").is_empty());
    }
}
