//! Proof that the parts of the program move: each beats whenever it gets round, and somebody looks.
//!
//! Nothing here knows systemd: the watchdog asks [`Seen::standing`] and decides.

use crate::lock::lock;
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

/// How often a task that waits for something else beats.
const PERIOD: Duration = Duration::from_millis(300);

/// All parts that have to move. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    parts: Arc<Mutex<Vec<Weak<Part>>>>,
}

/// One part's beat. The part counts as long as this lives.
#[derive(Debug)]
pub struct Beat(Arc<Part>);

struct Part {
    name: String,
    count: AtomicU64,
    poke: Option<Box<dyn Fn() + Send + Sync>>,
    /// How long it may stand still.
    patience: Duration,
    /// The count when it was last seen to have moved, and when that was.
    moved: Mutex<(u64, Instant)>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("name", &self.name).field("count", &self.count).finish_non_exhaustive()
    }
}

/// What the parts had done at one time.
#[derive(Debug, Default)]
pub struct Seen(Vec<(Weak<Part>, u64)>);

impl Pulse {
    /// A part that beats by itself at least every few hundred milliseconds.
    pub fn part(&self, name: impl Into<String>) -> Beat {
        self.add(name.into(), None, Duration::ZERO)
    }

    /// A part that sleeps until there is work: `poke` gives it some that ends in a beat. It must not wait.
    ///
    /// It may stand still for as long as `patience`: a disk may stall, and that is no reason to end what works.
    pub fn sleeper(
        &self,
        name: impl Into<String>,
        patience: Duration,
        poke: impl Fn() + Send + Sync + 'static,
    ) -> Beat {
        self.add(name.into(), Some(Box::new(poke)), patience)
    }

    fn add(&self, name: String, poke: Option<Box<dyn Fn() + Send + Sync>>, patience: Duration) -> Beat {
        let moved = Mutex::new((0, Instant::now()));
        let part = Arc::new(Part { name, count: AtomicU64::new(0), poke, patience, moved });
        self.lock().push(Arc::downgrade(&part));
        Beat(part)
    }

    /// Notes how far each part is, and pokes those that sleep.
    pub fn look(&self) -> Seen {
        let mut parts = self.lock();
        parts.retain(|part| part.strong_count() > 0);
        let living = parts.iter().filter_map(|weak| Some((weak.clone(), weak.upgrade()?)));
        Seen(
            living
                .map(|(weak, part)| {
                    let count = part.count.load(Relaxed);
                    part.poke.iter().for_each(|poke| poke());
                    (weak, count)
                })
                .collect(),
        )
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Part>>> {
        lock(&self.parts)
    }
}

impl Seen {
    /// The parts that have not moved since, by name.
    pub fn standing(&self) -> Vec<String> {
        let living = self.0.iter().filter_map(|(part, count)| Some((part.upgrade()?, count)));
        living.filter(|(part, count)| part.stands(**count)).map(|(part, _)| part.name.clone()).collect()
    }
}

impl Part {
    /// Whether it has not moved since a count, and for longer than it may.
    fn stands(&self, count: u64) -> bool {
        let now = self.count.load(Relaxed);
        let mut moved = lock(&self.moved);
        if moved.0 != now {
            *moved = (now, Instant::now());
        }
        now == count && moved.1.elapsed() >= self.patience
    }
}

impl Beat {
    /// Notes that the part moves. Only its own thread calls it, so no locked instruction is needed.
    pub fn beat(&self) {
        self.0.count.store(self.0.count.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Runs a task and beats beside it, in the same task: while the one is stuck the other stands still.
    pub async fn beside<T>(self, task: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            result = task => result,
            // A busy task may have nothing left of the budget that the runtime gives both.
            never = tokio::task::unconstrained(self.go_on()) => match never {},
        }
    }

    async fn go_on(&self) -> Infallible {
        loop {
            self.beat();
            tokio::time::sleep(PERIOD).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_stands_still_is_named() {
        let pulse = Pulse::default();
        let (moving, still) = (pulse.part("moving"), pulse.part("still"));
        let seen = pulse.look();
        moving.beat();
        assert_eq!(seen.standing(), ["still"]);
        drop(still);
        assert_eq!(seen.standing(), [""; 0]);
        assert_eq!(pulse.look().standing(), ["moving"]);
    }

    #[test]
    fn a_sleeper_is_poked() {
        let pulse = Pulse::default();
        let (told, pokes) = std::sync::mpsc::channel();
        let sleeper = pulse.sleeper("sleeper", Duration::ZERO, move || told.send(()).unwrap_or_default());
        let seen = pulse.look();
        assert_eq!(seen.standing(), ["sleeper"]);
        pokes.recv().expect("a poke");
        sleeper.beat();
        assert_eq!(seen.standing(), [""; 0]);
    }

    #[test]
    fn patience_is_had_with_a_disk() {
        let pulse = Pulse::default();
        let _files = pulse.sleeper("files", Duration::from_secs(3600), || {});
        assert_eq!(pulse.look().standing(), [""; 0]);
        let _mirror = pulse.sleeper("mirror", Duration::ZERO, || {});
        assert_eq!(pulse.look().standing(), ["mirror"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_beats_as_long_as_it_can_be_polled() {
        let pulse = Pulse::default();
        let beat = pulse.part("task");
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(beat.beside(std::future::pending::<()>()));
        tokio::time::sleep(PERIOD).await;
        let seen = pulse.look();
        tokio::time::sleep(2 * PERIOD).await;
        assert_eq!(seen.standing(), [""; 0]);
    }

    #[tokio::test]
    async fn a_task_that_is_busy_all_the_time_beats() {
        let pulse = Pulse::default();
        let beat = pulse.part("busy");
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (looks, stopped) = (pulse.clone(), Arc::clone(&stop));
        let watch = std::thread::spawn(move || {
            std::thread::sleep(PERIOD);
            let seen = looks.look();
            std::thread::sleep(3 * PERIOD);
            let standing = seen.standing();
            stopped.store(true, Relaxed);
            standing
        });
        // It uses up all the time that the runtime gives it, each time.
        beat.beside(async {
            while !stop.load(Relaxed) {
                tokio::task::consume_budget().await;
            }
        })
        .await;
        assert!(watch.join().expect("a look").is_empty());
    }
}
