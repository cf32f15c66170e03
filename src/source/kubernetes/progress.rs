//! How far the kinds of objects are: the source is in step when all are.

use crate::source::event::Event;
use crate::source::feed::{Closed, Feed};
use crate::tree::ObjectKind;
use std::collections::BTreeMap;
use tokio::sync::Mutex;

/// Tells the mirror when all kinds are in step, and when one is not any more.
#[derive(Debug)]
pub(super) struct Progress {
    feed: Feed,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Each kind, with what is wrong; none if it is in step.
    kinds: BTreeMap<ObjectKind, Option<String>>,
    reported: Option<Reported>,
}

#[derive(Debug, PartialEq, Eq)]
enum Reported {
    InStep,
    Unreachable(String),
}

impl Progress {
    pub(super) fn new(feed: Feed, kinds: &[ObjectKind]) -> Self {
        let kinds = kinds.iter().map(|kind| (*kind, Some(String::new()))).collect();
        Self { feed, state: Mutex::new(State { kinds, reported: None }) }
    }

    /// Notes that a kind is in step.
    pub(super) async fn in_step(&self, kind: ObjectKind) -> Result<(), Closed> {
        let mut state = self.state.lock().await;
        state.kinds.insert(kind, None);
        let event = match state.wrong() {
            None => (Reported::InStep, Event::InStep),
            // The others may be so soon, or say so themselves.
            Some("") => return Ok(()),
            Some(reason) => (Reported::Unreachable(reason.to_owned()), Event::Unreachable(reason.to_owned())),
        };
        self.report(&mut state, event).await
    }

    /// Notes that a kind is not in step, for a reason.
    pub(super) async fn failed(&self, kind: ObjectKind, reason: String) -> Result<(), Closed> {
        let mut state = self.state.lock().await;
        state.kinds.insert(kind, Some(reason.clone()));
        self.report(&mut state, (Reported::Unreachable(reason.clone()), Event::Unreachable(reason))).await
    }

    async fn report(&self, state: &mut State, (reported, event): (Reported, Event)) -> Result<(), Closed> {
        if state.reported.as_ref() != Some(&reported) {
            state.reported = Some(reported);
            self.feed.push(event).await?;
        }
        Ok(())
    }
}

impl State {
    /// What is wrong with one of the kinds that are not in step; empty if one has said nothing yet.
    fn wrong(&self) -> Option<&str> {
        let mut wrong = self.kinds.values().flatten();
        let first = wrong.next()?;
        Some(if first.is_empty() { wrong.find(|reason| !reason.is_empty()).unwrap_or(first) } else { first })
    }
}
