//! Proof that the monitored of the program move: each beats whenever it gets round, and somebody looks.
//!
//! Nothing here knows systemd: the watchdog asks [`HeartbeatCounts::standing`] and decides.

use crate::lock::lock;
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

/// How often a task that waits for something else beats.
const TASK_PERIOD: Duration = Duration::from_millis(300);

/// All monitored that have to move. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats {
    monitored: Arc<Mutex<Vec<Weak<Monitored>>>>,
}

/// One monitored's beat. The monitored counts as long as this lives.
#[derive(Debug)]
pub struct Heartbeat(Arc<Monitored>);

struct Monitored {
    name: String,
    count: AtomicU64,
    wake: Option<Box<dyn Fn() + Send + Sync>>,
    /// How long it may stand still.
    max_pause: Duration,
    /// The count when it was last seen to have moved, and when that was.
    moved: Mutex<(u64, Instant)>,
}

impl fmt::Debug for Monitored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitored")
            .field("name", &self.name)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// What the monitored had done at one time.
#[derive(Debug, Default)]
pub struct HeartbeatCounts(Vec<(Weak<Monitored>, u64)>);

impl Heartbeats {
    /// A monitored that beats by itself at least every few hundred milliseconds.
    pub fn monitor(&self, name: impl Into<String>) -> Heartbeat {
        self.add(name.into(), None, Duration::ZERO)
    }

    /// A monitored that sleeps until there is work: `wake` gives it some that ends in a beat. It must not wait.
    ///
    /// It may stand still for as long as `max_pause`: a disk may stall, and that is no reason to end what works.
    pub fn monitor_sleeper(
        &self,
        name: impl Into<String>,
        max_pause: Duration,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Heartbeat {
        self.add(name.into(), Some(Box::new(wake)), max_pause)
    }

    fn add(&self, name: String, wake: Option<Box<dyn Fn() + Send + Sync>>, max_pause: Duration) -> Heartbeat {
        let moved = Mutex::new((0, Instant::now()));
        let monitored = Arc::new(Monitored { name, count: AtomicU64::new(0), wake, max_pause, moved });
        self.lock().push(Arc::downgrade(&monitored));
        Heartbeat(monitored)
    }

    /// Notes how far each monitored is, and wakes those that sleep.
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
    /// The monitored that have not moved since, by name.
    pub fn stalled(&self) -> Vec<String> {
        let living = self.0.iter().filter_map(|(monitored, count)| Some((monitored.upgrade()?, count)));
        living
            .filter(|(monitored, count)| monitored.has_stalled(**count))
            .map(|(monitored, _)| monitored.name.clone())
            .collect()
    }
}

impl Monitored {
    /// Whether it has not moved since a count, and for longer than it may.
    fn has_stalled(&self, count: u64) -> bool {
        let now = self.count.load(Relaxed);
        let mut moved = lock(&self.moved);
        if moved.0 != now {
            *moved = (now, Instant::now());
        }
        now == count && moved.1.elapsed() >= self.max_pause
    }
}

impl Heartbeat {
    /// Notes that the monitored moves. Only its own thread calls it, so no locked instruction is needed.
    pub fn beat(&self) {
        self.0.count.store(self.0.count.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Runs a task and beats beside it, in the same task: while the one is stuck the other stands still.
    pub async fn beat_beside<T>(self, task: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            result = task => result,
            // A busy task may have nothing left of the budget that the runtime gives both.
            never = tokio::task::unconstrained(self.beat_forever()) => match never {},
        }
    }

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
    fn a_part_that_stands_still_is_named() {
        let heartbeats = Heartbeats::default();
        let (moving, still) = (heartbeats.monitor("moving"), heartbeats.monitor("still"));
        let seen = heartbeats.counts();
        moving.beat();
        assert_eq!(seen.stalled(), ["still"]);
        drop(still);
        assert_eq!(seen.stalled(), [""; 0]);
        assert_eq!(heartbeats.counts().stalled(), ["moving"]);
    }

    #[test]
    fn a_sleeper_is_poked() {
        let heartbeats = Heartbeats::default();
        let (told, wakes) = std::sync::mpsc::channel();
        let monitor_sleeper = heartbeats
            .monitor_sleeper("monitor_sleeper", Duration::ZERO, move || told.send(()).unwrap_or_default());
        let seen = heartbeats.counts();
        assert_eq!(seen.stalled(), ["monitor_sleeper"]);
        wakes.recv().expect("a wake");
        monitor_sleeper.beat();
        assert_eq!(seen.stalled(), [""; 0]);
    }

    #[test]
    fn patience_is_had_with_a_disk() {
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
        let seen = heartbeats.counts();
        tokio::time::sleep(2 * TASK_PERIOD).await;
        assert_eq!(seen.stalled(), [""; 0]);
    }

    #[tokio::test]
    async fn a_task_that_is_busy_all_the_time_beats() {
        let heartbeats = Heartbeats::default();
        let heartbeat = heartbeats.monitor("busy");
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (looks, stopped) = (heartbeats.clone(), Arc::clone(&stop));
        let watch = std::thread::spawn(move || {
            std::thread::sleep(TASK_PERIOD);
            let seen = looks.counts();
            std::thread::sleep(3 * TASK_PERIOD);
            let standing = seen.stalled();
            stopped.store(true, Relaxed);
            standing
        });
        // It uses up all the time that the runtime gives it, each time.
        heartbeat
            .beat_beside(async {
                while !stop.load(Relaxed) {
                    tokio::task::consume_budget().await;
                }
            })
            .await;
        assert!(watch.join().expect("a look").is_empty());
    }
}
