//! Rounds through the endpoints of a store: which one is asked next, after which pause, and what came of those before.

use super::connect::EtcdSettings;
use super::error::{EtcdError, summary};
use rand::Rng;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum pause after every endpoint failed once; doubled each time, up to [`MAX_ROUND_PAUSE`].
const FIRST_ROUND_PAUSE: Duration = Duration::from_millis(100);

/// Maximum pause between two rounds through the endpoints: a store that is back is noticed soon.
const MAX_ROUND_PAUSE: Duration = Duration::from_secs(5);

/// How long a session has to be in sync for the pause after it to be short again.
const STEADY_TIME: Duration = Duration::from_secs(10);

/// How long the other endpoints are tried after a session could not begin before the store is reported as unreachable. One
/// that was in sync and is lost is reported at once: what is served may be old from then on.
const UNREACHABLE_DELAY: Duration = Duration::from_secs(1);

/// Where the rounds are.
pub(super) struct Rounds {
    endpoints: Vec<String>,
    next: usize,
    /// Sessions that failed since one was in sync.
    failed: usize,
    failed_since: Option<Instant>,
    /// The last error of each endpoint.
    errors: Vec<(String, EtcdError)>,
    max_pause: Duration,
}

/// How a session ended.
pub(super) struct Ended {
    pub(super) error: EtcdError,
    /// When it was in sync, if it was.
    pub(super) synced: Option<Instant>,
    /// The endpoints to use from now on, if others are known than before.
    pub(super) endpoints: Option<Vec<String>>,
}

/// What follows from the end of a session.
pub(super) struct Outlook {
    /// Whether the store is unreachable, as far as anybody is to be told.
    pub(super) is_unreachable: bool,
    /// Whether every endpoint failed once more: a round has ended.
    pub(super) all_failed: bool,
}

impl Rounds {
    pub(super) fn new(settings: &EtcdSettings) -> Self {
        Self {
            endpoints: settings.endpoints.clone(),
            next: 0,
            failed: 0,
            failed_since: None,
            errors: Vec::new(),
            max_pause: FIRST_ROUND_PAUSE,
        }
    }

    /// The endpoint whose turn it is.
    pub(super) fn endpoint(&self) -> String {
        self.endpoints[self.next % self.endpoints.len()].clone()
    }

    /// All endpoints.
    pub(super) fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The errors of the endpoints since the store was in sync.
    pub(super) fn errors(&self) -> &[(String, EtcdError)] {
        &self.errors
    }

    /// Notes how a session with the present endpoint ended; it is the next one's turn.
    pub(super) fn note(&mut self, ended: Ended) -> Outlook {
        let endpoint = self.endpoint();
        if let Some(synced) = ended.synced {
            (self.failed, self.failed_since) = (0, None);
            self.errors.clear();
            // Sessions that end as soon as they are in sync must not list the store again and again without a pause.
            if synced.elapsed() > STEADY_TIME {
                self.max_pause = FIRST_ROUND_PAUSE;
            }
        }
        match self.errors.iter_mut().find(|(failed, _)| *failed == endpoint) {
            Some((_, last)) => *last = ended.error,
            None => self.errors.push((endpoint, ended.error)),
        }
        if let Some(endpoints) = ended.endpoints {
            self.endpoints = endpoints;
        }
        self.next += 1;
        self.failed += 1;
        let since = *self.failed_since.get_or_insert_with(Instant::now);
        let all_failed = self.failed.is_multiple_of(self.endpoints.len());
        let is_unreachable = ended.synced.is_some() || all_failed || since.elapsed() > UNREACHABLE_DELAY;
        Outlook { is_unreachable, all_failed }
    }

    /// Waits before the next round.
    pub(super) async fn pause(&mut self) {
        // At random, so that the hosts of a site do not come back all at once.
        let pause = rand::rng().random_range(self.max_pause / 2..=self.max_pause);
        tokio::time::sleep(pause).await;
        self.max_pause = (self.max_pause * 2).min(MAX_ROUND_PAUSE);
    }
}

/// Why the store cannot be reached, for operators.
pub(super) fn reason(settings: &EtcdSettings, errors: &[(String, EtcdError)]) -> String {
    let hint = if settings.are_default() { " (no endpoint is set: -machines, ETCD_MACHINES)" } else { "" };
    format!("{}{hint}", summary(errors))
}
