//! Answers for our own names: made from one state of tree, configuration and keys.

use super::inputs::{Again, AnswerInputs, COSTLY_ON_WORKER, Effort, ON_RUNTIME, ON_WORKER};
use super::signing::Signed;
use super::{
    ClientQuery, Forwarding, Handled, Handler, PendingQuery, PendingWork, ask_over_tcp, refusal_to_forward,
};
use crate::answer::{Ede, Externals, Lookup, Outcome, WORK_OF_ANSWER};
use crate::config::Config;
use crate::metrics::AnsweredBy;
use crate::server::costly::NotDone;
use crate::wire::{self, Reply, Transport};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use std::sync::Arc;
use std::time::Instant;

/// How often names are looked up upstream for one answer: a name outside may lead back to one of ours that leads outside again.
const MAX_LOOKUP_ROUNDS: usize = 2;

/// Work for one answer over TCP.
const WORK_OVER_TCP: u32 = 5 * WORK_OF_ANSWER;

impl Handler {
    /// Answers a name of our own; any other is forwarded.
    pub(super) fn answer_own(&self, query: ClientQuery, mut inputs: AnswerInputs<'_>) -> Handled {
        let (keys, none) = (self.keys(&query, &inputs), Externals::new());
        let mut outcome = inputs.answer(&query, keys.as_ref(), &none);
        if let Outcome::Answered(answer) = &outcome
            && answer.too_costly
        {
            if query.transport == Transport::Tcp || !self.costly_time.is_left() {
                return self.leave_costly(query, inputs.again());
            }
            let begun = Instant::now();
            inputs = inputs.with_effort(COSTLY_ON_WORKER);
            outcome = inputs.answer(&query, keys.as_ref(), &none);
            self.costly_time.spend(begun.elapsed());
        }
        let answer = match outcome {
            Outcome::Answered(answer) => answer,
            Outcome::Lookup(lookups) => {
                let work = PendingWork::Lookup(lookups, inputs.again());
                return Handled::Pending(PendingQuery { query, work });
            }
            Outcome::Forward => {
                let forwarding = self.forwarding_of(query.name(), &inputs);
                return self.forward(query, forwarding, inputs);
            }
            Outcome::ForwardExisting => {
                let forwarding = Forwarding { name_exists: true, ..Forwarding::default() };
                return self.forward(query, forwarding, inputs);
            }
        };
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

    /// How a question is forwarded that is not answered here.
    fn forwarding_of(&self, name: &Name, inputs: &AnswerInputs<'_>) -> Forwarding {
        let is_missing_here = inputs.config.site.falls_through(name);
        let may_have_servers = is_missing_here && inputs.config.forward.stub_zones;
        let stub = if may_have_servers { inputs.stub_zone_for_missing(&self.stubs, name) } else { None };
        Forwarding { stub, is_missing_here, ..Forwarding::default() }
    }

    /// Leaves a costly answer to the threads for them, or has the client ask over TCP.
    fn leave_costly(&self, query: ClientQuery, again: Again) -> Handled {
        if query.may_be_costly() {
            return Handled::Pending(PendingQuery { query, work: PendingWork::Costly(again) });
        }
        // For clients of another class the same question has an answer, so this one is not cached.
        Handled::Reply(self.encode(&query, AnsweredBy::Auth, &too_costly()).0, None)
    }

    /// Answers our own probe with the SOA of the domain.
    pub(super) fn answer_probe(&self, mut query: ClientQuery, config: &Config) -> Handled {
        query.request.query = Query::query(config.site.zones.first().domain().clone(), RecordType::SOA);
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

    /// The reply that waits for upstreams, or for threads for costly work. `externals` are the results of its look-ups; `None`
    /// before these are made.
    pub(super) async fn answer_later(
        self: &Arc<Self>,
        query: &Arc<ClientQuery>,
        externals: Option<Externals>,
        again: Again,
        mut is_costly: bool,
    ) -> (AnsweredBy, Reply) {
        let mut rounds = usize::from(externals.is_some());
        let mut externals = externals.unwrap_or_default();
        // Until the answer has become costly, and all rounds of look-ups are made.
        loop {
            let given = (externals.clone(), rounds < MAX_LOOKUP_ROUNDS);
            let made = if is_costly {
                self.make_costly(query, given, again).await
            } else {
                Ok(self.make(query, given, again, ON_RUNTIME))
            };
            let Ok(made) = made else {
                let reply = self.given_up(query, "too many costly answers are under way");
                return (AnsweredBy::Auth, reply);
            };
            let of_ours = |reply| match rounds {
                0 => (answered_by(&reply), reply),
                // Without AA it has data of other zones.
                _ => (AnsweredBy::Auth, reply),
            };
            match made {
                Made::Lookup(lookups) => {
                    rounds += 1;
                    externals.extend(self.look_up(lookups, query).await);
                }
                Made::Forward(forwarding) => {
                    return match refusal_to_forward(query) {
                        Some(reply) => (AnsweredBy::Recursive, reply),
                        None => Box::pin(self.ask_upstreams(query, forwarding)).await,
                    };
                }
                Made::Signed(Signed::Unfinished(answer)) => {
                    return of_ours(self.finish_signing(query, answer).await);
                }
                Made::Signed(Signed::Complete(reply, _)) if reply.too_costly && !is_costly => {
                    if !query.may_be_costly() {
                        return of_ours(reply);
                    }
                    is_costly = true;
                }
                Made::Signed(Signed::Complete(reply, _)) => return of_ours(reply),
            }
        }
    }

    /// Has a thread for costly work make an answer, with all the work that its transport allows.
    async fn make_costly(
        self: &Arc<Self>,
        query: &Arc<ClientQuery>,
        given: (Externals, bool),
        again: Again,
    ) -> Result<Made, NotDone> {
        let work = match query.transport {
            Transport::Udp { .. } => WORK_OF_ANSWER,
            Transport::Tcp => WORK_OVER_TCP,
        };
        let effort = Effort { work, ..ON_RUNTIME };
        let (handler, made_for) = (Arc::clone(self), Arc::clone(query));
        self.answering.run(query.id, move || handler.make(&made_for, given, again, effort)).await
    }

    /// Makes an answer from the present state, with the results of look-ups; the flag says whether it may have more of them.
    fn make(
        &self,
        query: &ClientQuery,
        (mut externals, may_look_up): (Externals, bool),
        again: Again,
        effort: Effort,
    ) -> Made {
        let (config, published) = (self.config.load(), self.published.load());
        let inputs = AnswerInputs::new(&config, &published, effort).made_again(again);
        let keys = self.keys(query, &inputs);
        let mut outcome = inputs.answer(query, keys.as_ref(), &externals);
        if let Outcome::Lookup(more) = outcome {
            if may_look_up {
                return Made::Lookup(more);
            }
            // The client has waited long enough: other names count as failed.
            more.into_iter().for_each(|lookup: Lookup| externals.insert_failure(lookup));
            outcome = inputs.answer(query, keys.as_ref(), &externals);
        }
        let failure = |why: &str| Reply::failure(ResponseCode::ServFail, Ede::new(Ede::OTHER, why));
        Made::Signed(match outcome {
            Outcome::Answered(answer) => self.sign(query, keys, answer, &inputs),
            Outcome::Lookup(_) => Signed::Complete(failure("the data changed"), 0),
            // More work than before has shown that the name is not here.
            Outcome::Forward if again.forwards => {
                return Made::Forward(self.forwarding_of(query.name(), &inputs));
            }
            Outcome::ForwardExisting if again.forwards => {
                return Made::Forward(Forwarding { name_exists: true, ..Forwarding::default() });
            }
            Outcome::Forward | Outcome::ForwardExisting => {
                Signed::Complete(failure("the configuration changed"), 0)
            }
        })
    }
}

/// What came of making an answer later.
enum Made {
    Signed(Signed),
    /// Upstreams must be asked these first.
    Lookup(Vec<Lookup>),
    /// Upstreams must be asked the question itself.
    Forward(Forwarding),
}

impl ClientQuery {
    /// Whether the threads for costly work answer the client. Over UDP they do so for clients of ours: those that may be
    /// somebody else would use up their time without a bound, and are told to ask over TCP, where each network has a rate.
    fn may_be_costly(&self) -> bool {
        self.transport == Transport::Tcp || self.client.is_trusted()
    }
}

/// The reply over UDP in place of a costly answer.
fn too_costly() -> Reply {
    Reply { too_costly: true, ..ask_over_tcp() }
}

/// Who gave an answer of our own: without AA it came from the reverse keys.
pub(super) fn answered_by(reply: &Reply) -> AnsweredBy {
    if !reply.authoritative && reply.rcode == ResponseCode::NoError {
        AnsweredBy::Reverse
    } else {
        AnsweredBy::Auth
    }
}
