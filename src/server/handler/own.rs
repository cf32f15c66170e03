//! Answers for our own names: made from one state of tree, configuration and keys.

use super::inputs::{Again, AnswerInputs, Effort, ON_RUNTIME, ON_WORKER};
use super::signing::Signed;
use super::{ClientQuery, Forwarding, Handled, Handler, PendingQuery, PendingWork};
use crate::answer::{Ede, Externals, Lookup, Outcome, WORK_OF_ANSWER};
use crate::config::Config;
use crate::metrics::AnsweredBy;
use crate::server::costly::NotDone;
use crate::wire::{self, Reply, Transport};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::RecordType;
use std::sync::Arc;

/// Work for one answer over TCP.
const WORK_OVER_TCP: u32 = 5 * WORK_OF_ANSWER;

impl Handler {
    /// Answers a name of our own; any other is forwarded.
    pub(super) fn answer_own(&self, query: ClientQuery, inputs: AnswerInputs<'_>) -> Handled {
        let keys = self.keys(&query, &inputs);
        let answer = match inputs.answer(&query, keys.as_ref(), &Externals::new()) {
            Outcome::Answered(answer) => answer,
            Outcome::Lookup(lookups) => {
                let work = PendingWork::Lookup(lookups, inputs.again());
                return Handled::Pending(PendingQuery { query, work });
            }
            Outcome::Forward => return self.forward(query, Forwarding::default(), inputs),
            Outcome::ForwardExisting => {
                let forwarding = Forwarding { name_exists: true, ..Forwarding::default() };
                return self.forward(query, forwarding, inputs);
            }
        };
        if answer.too_costly && query.transport == Transport::Tcp {
            let work = PendingWork::Costly(inputs.again());
            return Handled::Pending(PendingQuery { query, work });
        }
        match self.sign(&query, keys, answer, &inputs) {
            Signed::Complete(reply, until) => {
                let (octets, note) = self.encode(&query, answered_by(&reply), &reply);
                Handled::Reply(octets, inputs.cache_hint(until, reply.shared_authority, query.client, note))
            }
            Signed::Unfinished(answer) => {
                Handled::Pending(PendingQuery { query, work: PendingWork::Sign(answer) })
            }
        }
    }

    /// Answers our own probe with the SOA of the domain.
    pub(super) fn answer_probe(&self, mut query: ClientQuery, config: &Config) -> Handled {
        query.request.query = Query::query(config.zone.domain().clone(), RecordType::SOA);
        let published = self.published.load();
        let inputs = AnswerInputs::new(config, &published, ON_WORKER).without_upstreams();
        match inputs.answer(&query, None, &Externals::new()) {
            Outcome::Answered(answer) => {
                Handled::Reply(wire::encode(&query.request, &Reply::from(answer), query.transport), None)
            }
            // The apex is ours, unless the domain is the root.
            Outcome::Lookup(_) | Outcome::Forward | Outcome::ForwardExisting => {
                let reply = Reply::empty(ResponseCode::NoError);
                Handled::Reply(wire::encode(&query.request, &reply, query.transport), None)
            }
        }
    }

    /// The reply to a question that upstreams deny, about a name that exists here.
    pub(super) async fn answer_without_upstreams(self: &Arc<Self>, query: &Arc<ClientQuery>) -> Reply {
        let again = Again { seed: rand::random(), forwards: false };
        self.answer_with(query, Externals::new(), again).await
    }

    /// The reply once the names outside of the tree are known that its answer needs.
    pub(super) async fn answer_with(
        self: &Arc<Self>,
        query: &Arc<ClientQuery>,
        mut externals: Externals,
        again: Again,
    ) -> Reply {
        match self.make_with(query, &mut externals, again, ON_RUNTIME) {
            Signed::Complete(reply, _) if reply.too_costly => {
                self.answer_at_any_cost(query, externals, again).await
            }
            Signed::Complete(reply, _) => reply,
            Signed::Unfinished(answer) => self.finish_signing(query, answer).await,
        }
    }

    /// The reply that takes all the work that its transport allows, made by a thread for costly work.
    pub(super) async fn answer_at_any_cost(
        self: &Arc<Self>,
        query: &Arc<ClientQuery>,
        mut externals: Externals,
        again: Again,
    ) -> Reply {
        let work = match query.transport {
            Transport::Udp { .. } => WORK_OF_ANSWER,
            Transport::Tcp => WORK_OVER_TCP,
        };
        let (handler, made_for) = (Arc::clone(self), Arc::clone(query));
        let effort = Effort { work, ..ON_RUNTIME };
        let made = move || handler.make_with(&made_for, &mut externals, again, effort);
        match self.answering.run(query.id, made).await {
            Ok(Signed::Complete(reply, _)) => reply,
            Ok(Signed::Unfinished(answer)) => self.finish_signing(query, answer).await,
            Err(NotDone) => self.given_up("too many costly answers are under way"),
        }
    }

    fn make_with(
        &self,
        query: &ClientQuery,
        externals: &mut Externals,
        again: Again,
        effort: Effort,
    ) -> Signed {
        let (config, published) = (self.config.load(), self.published.load());
        let inputs = AnswerInputs::new(&config, &published, effort).made_again(again);
        let keys = self.keys(query, &inputs);
        let mut outcome = inputs.answer(query, keys.as_ref(), externals);
        if let Outcome::Lookup(more) = outcome {
            // The tree changed meanwhile. One look-up upstream is enough: other names count as failed.
            more.into_iter().for_each(|lookup: Lookup| externals.insert_failure(lookup));
            outcome = inputs.answer(query, keys.as_ref(), externals);
        }
        let failure = |why: &str| Reply::failure(ResponseCode::ServFail, Ede::new(Ede::OTHER, why));
        match outcome {
            Outcome::Answered(answer) => self.sign(query, keys, answer, &inputs),
            Outcome::Lookup(_) => Signed::Complete(failure("the data changed"), 0),
            Outcome::Forward | Outcome::ForwardExisting => {
                Signed::Complete(failure("the configuration changed"), 0)
            }
        }
    }
}

/// Who gave an answer of our own: without AA it came from the reverse keys.
fn answered_by(reply: &Reply) -> AnsweredBy {
    if !reply.authoritative && reply.rcode == ResponseCode::NoError {
        AnsweredBy::Reverse
    } else {
        AnsweredBy::Auth
    }
}
