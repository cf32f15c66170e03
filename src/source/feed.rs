//! The queue from the sources to the mirror.

use super::event::Event;
use super::id::SourceId;
use tokio::sync::mpsc;

/// Maximum number of events that wait for the mirror, each of at most a thousand keys: a source that is faster than
/// the mirror waits. With the largest files this is 28 MiB.
const FEED_CAPACITY: usize = 16;

/// Where one source pushes its events.
#[derive(Clone, Debug)]
pub struct Feed {
    id: SourceId,
    events: mpsc::Sender<(SourceId, Event)>,
}

impl Feed {
    /// A function that makes the feed of each source, and the end that the mirror reads.
    pub fn channel() -> (impl Fn(SourceId) -> Self + Clone + Send + 'static, mpsc::Receiver<(SourceId, Event)>)
    {
        let (events, receiver) = mpsc::channel(FEED_CAPACITY);
        (move |id| Self { id, events: events.clone() }, receiver)
    }

    /// Pushes an event; waits while the queue is full.
    ///
    /// # Errors
    /// The mirror has ended.
    pub async fn push(&self, event: Event) -> Result<(), Closed> {
        self.events.send((self.id, event)).await.map_err(|_| Closed)
    }

    /// Waits until the mirror has ended.
    pub async fn closed(&self) -> Closed {
        self.events.closed().await;
        Closed
    }

    /// Pushes an event from a thread outside the runtime; blocks while the queue is full.
    ///
    /// # Errors
    /// The mirror has ended.
    pub fn push_blocking(&self, event: Event) -> Result<(), Closed> {
        self.events.blocking_send((self.id, event)).map_err(|_| Closed)
    }

    /// A function that wakes the mirror, for the watchdog. It never waits, and does not keep the mirror from ending.
    pub fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let (id, events) = (self.id, self.events.downgrade());
        move || {
            if let Some(events) = events.upgrade() {
                // A mirror whose queue is full has a reason to beat already.
                let _ = events.try_send((id, Event::Wake));
            }
        }
    }
}

/// The mirror has ended: another one has replaced it, or the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree is closed")]
pub struct Closed;
