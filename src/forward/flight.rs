//! Equal questions at one time: the first begins an exchange with upstreams, the others wait for the reply of that.

use super::admission::NotAdmitted;
use super::message::UpstreamQuestion;
use crate::client_id::ClientId;
use crate::lock::lock;
use crate::wire::Reply;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::time::Instant;

type Exchange = BoxFuture<'static, Result<Reply, GivenUp>>;

/// An exchange was given up for want of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    /// Why.
    pub(super) reason: NotAdmitted,
    /// The client whose place it was, or would have been.
    pub(super) client: ClientId,
}

/// An exchange whose reply several questions may wait for. It goes on as long as one of them waits.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    exchange: Shared<Exchange>,
    notes: Arc<FlightNotes>,
}

/// What is known of an exchange.
#[derive(Debug)]
struct FlightNotes {
    begun: Instant,
    /// The number of questions that joined it after the one that began it.
    followers: AtomicUsize,
    /// Whether it goes on in the background when nobody waits for it any more.
    is_handed_over: AtomicBool,
}

impl Flight {
    /// When the exchange began.
    pub(super) fn begun(&self) -> Instant {
        self.notes.begun
    }

    /// Whether the caller is the first one that gives up waiting, and so the one that has the exchange finished.
    pub(super) fn hand_over(&self) -> bool {
        !self.notes.is_handed_over.swap(true, Ordering::Relaxed)
    }
}

impl IntoFuture for Flight {
    type Output = Result<Reply, GivenUp>;
    type IntoFuture = Shared<Exchange>;

    fn into_future(self) -> Self::IntoFuture {
        self.exchange
    }
}

/// The exchanges under way, by question.
#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<UpstreamQuestion, UnderWay>>,
}

#[derive(Debug)]
struct UnderWay {
    exchange: WeakShared<Exchange>,
    notes: Arc<FlightNotes>,
}

/// The questions that joined an exchange after the one that began it.
#[derive(Clone, Debug)]
pub(super) struct Followers(Arc<FlightNotes>);

impl Followers {
    pub(super) fn any(&self) -> bool {
        self.0.followers.load(Ordering::Relaxed) > 0
    }
}

impl Default for Followers {
    /// None.
    fn default() -> Self {
        Self(Arc::new(FlightNotes::new()))
    }
}

impl FlightNotes {
    fn new() -> Self {
        Self { begun: Instant::now(), followers: AtomicUsize::new(0), is_handed_over: AtomicBool::new(false) }
    }
}

impl Flights {
    /// The exchange under way for the question, else the one that `begin` makes.
    pub(super) fn join<F>(
        self: &Arc<Self>,
        question: UpstreamQuestion,
        begin: impl FnOnce(Followers) -> F,
    ) -> Flight
    where
        F: Future<Output = Result<Reply, GivenUp>> + Send + 'static,
    {
        let mut under_way = self.lock();
        if let Some(flight) = under_way.get(&question)
            && let Some(exchange) = flight.exchange.upgrade()
        {
            flight.notes.followers.fetch_add(1, Ordering::Relaxed);
            return Flight { exchange, notes: Arc::clone(&flight.notes) };
        }
        let notes = Arc::new(FlightNotes::new());
        let guard =
            FlightGuard { flights: Arc::clone(self), question: question.clone(), notes: Arc::clone(&notes) };
        let work = begin(Followers(Arc::clone(&notes)));
        let exchange = async move {
            let _guard = guard;
            work.await
        }
        .boxed()
        .shared();
        if let Some(weak) = exchange.downgrade() {
            under_way.insert(question, UnderWay { exchange: weak, notes: Arc::clone(&notes) });
        }
        Flight { exchange, notes }
    }

    /// Lets no question join the exchanges under way any more.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UpstreamQuestion, UnderWay>> {
        lock(&self.under_way)
    }
}

/// Takes an exchange out of the table when it ends, or when no question waits for it any more.
struct FlightGuard {
    flights: Arc<Flights>,
    question: UpstreamQuestion,
    notes: Arc<FlightNotes>,
}

impl Drop for FlightGuard {
    fn drop(&mut self) {
        let mut under_way = self.flights.lock();
        // Since nobody waited for this exchange any more, another one for the same question may have begun.
        let own = under_way.get(&self.question).is_some_and(|flight| Arc::ptr_eq(&flight.notes, &self.notes));
        if own {
            under_way.remove(&self.question);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::{Name, RecordType};
    use std::time::Duration;

    fn question_of() -> UpstreamQuestion {
        UpstreamQuestion::own(Name::root(), RecordType::A)
    }

    #[tokio::test(start_paused = true)]
    async fn equal_questions_share_one_exchange() {
        let flights = Arc::new(Flights::default());
        let begun = Arc::new(AtomicUsize::new(0));
        let join = || {
            let begun = Arc::clone(&begun);
            flights.join(question_of(), move |_| async move {
                begun.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(Reply::empty(ResponseCode::NoError))
            })
        };
        futures_util::future::join_all((0..50).map(|_| join().into_future())).await;
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        assert!(join().await.is_ok());
        assert_eq!(begun.load(Ordering::Relaxed), 2);
        let given_up = tokio::time::timeout(Duration::from_millis(10), join()).await;
        assert!(given_up.is_err());
        assert!(flights.lock().is_empty(), "an exchange that nobody waits for is removed");
    }
}
