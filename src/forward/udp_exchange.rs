//! One question to one upstream over UDP: sent, sent again, and asked once more where a reply says little.
//!
//! A reply that says little is FORMERR or NOTIMP without OPT, which a server gives that does not know EDNS
//! (RFC 6891 §7), and an error that does not repeat the question, which is easily forged. The question is asked once
//! more then, under an id of its own, mostly without EDNS, and the first one waits on: a genuine reply to it still
//! counts. To a server that knows EDNS a question for signatures goes with EDNS again, and only if that is not understood
//! either a last time without.

use super::edns_state::EdnsSupport;
use super::exchange_error::ExchangeError;
use super::message::{UpstreamQuestion, UpstreamReply};
use super::query_sockets::{OpenQuestion, QuerySockets};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long until a question is sent a second time, because networks lose datagrams. The pause doubles each time.
const RESEND_DELAY: Duration = Duration::from_millis(400);

/// How long until a question is sent again to a host that says that nobody listens, each time: the server may just be
/// starting again. Once it says so behind the last of them, the exchange ends.
const UNREACHABLE_RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(100)];

/// What others learn of an exchange before it ends.
#[derive(Default)]
pub(super) struct ExchangeSignals<'a> {
    /// Notified when the next upstream is to be asked, though this one may still answer.
    pass_over: Arc<Notify>,
    /// Called when the question is sent again.
    on_silence: Option<&'a (dyn Fn() + Sync)>,
    is_unreachable: AtomicBool,
}

/// A question to one upstream that is under way.
pub(super) struct UdpExchange<'a> {
    sockets: &'a QuerySockets,
    question: &'a UpstreamQuestion,
    edns: EdnsSupport,
    signals: &'a ExchangeSignals<'a>,
    first: OpenQuestion,
    second: Option<SecondQuestion>,
    resend_at: Instant,
    resend_pause: Duration,
    /// The pauses that are left until the question is sent again to a host that says that nobody listens.
    unreachable_pauses: &'static [Duration],
    /// What the exchange ends with if nothing better comes.
    so_far: Option<Result<UdpReply, ExchangeError>>,
}

/// The question as it is asked once more.
struct SecondQuestion {
    open: OpenQuestion,
    with_edns: bool,
}

/// A reply over UDP.
#[derive(Debug)]
pub(super) struct UdpReply {
    pub(super) reply: UpstreamReply,
    /// Whether the question had an OPT record.
    pub(super) with_edns: bool,
    /// Whether the question failed with EDNS and was answered without.
    pub(super) fell_back: bool,
}

impl<'a> ExchangeSignals<'a> {
    /// Signals of a race that asks the next upstream when `pass_over` is notified; `on_silence` is called when the question
    /// is sent again.
    pub(super) fn new(pass_over: Arc<Notify>, on_silence: &'a (dyn Fn() + Sync)) -> Self {
        Self { pass_over, on_silence: Some(on_silence), is_unreachable: AtomicBool::new(false) }
    }

    /// Has the next upstream asked.
    pub(super) fn pass_over(&self) {
        self.pass_over.notify_one();
    }

    /// Whether the network said that no question gets to the upstream.
    pub(super) fn is_unreachable(&self) -> bool {
        self.is_unreachable.load(Ordering::Relaxed)
    }
}

impl<'a> UdpExchange<'a> {
    /// Sends a question to an upstream whose support for EDNS is known so far.
    ///
    /// # Errors
    /// The question cannot be sent.
    pub(super) async fn begin(
        sockets: &'a QuerySockets,
        question: &'a UpstreamQuestion,
        edns: EdnsSupport,
        signals: &'a ExchangeSignals<'a>,
    ) -> Result<Self, ExchangeError> {
        let with_edns = edns != EdnsSupport::Unsupported;
        let first = sockets.open(question.to_message(with_edns).to_vec()?)?;
        first.send().await?;
        Ok(Self {
            sockets,
            question,
            edns,
            signals,
            first,
            second: None,
            resend_at: Instant::now() + RESEND_DELAY,
            resend_pause: RESEND_DELAY,
            unreachable_pauses: &UNREACHABLE_RETRY_PAUSES,
            so_far: None,
        })
    }

    /// The same exchange, ending at once when the host says that nobody listens.
    pub(super) fn without_retries_where_nobody_listens(self) -> Self {
        Self { unreachable_pauses: &[], ..self }
    }

    /// The reply.
    ///
    /// # Errors
    /// No reply came until `end`, the reply cannot be read, or the question cannot be sent again.
    pub(super) async fn reply_until(mut self, end: Instant) -> Result<UdpReply, ExchangeError> {
        loop {
            let (from_second, received) = tokio::select! {
                biased;
                received = self.first.reply() => (false, received),
                received = reply_if_any(&mut self.second) => (true, received),
                () = sleep_until(self.resend_at.min(end)) => {
                    if Instant::now() >= end {
                        return self.so_far.unwrap_or(Err(ExchangeError::Timeout));
                    }
                    self.resend().await?;
                    continue;
                }
            };
            if let Some(reply) = self.take(received, from_second).await? {
                return Ok(reply);
            }
        }
    }

    /// Takes what came; gives the reply that ends the exchange.
    async fn take(
        &mut self,
        received: Result<Vec<u8>, ExchangeError>,
        from_second: bool,
    ) -> Result<Option<UdpReply>, ExchangeError> {
        let octets = match received {
            Err(ExchangeError::Unreachable(kind)) => {
                self.await_again(from_second);
                return self.retry_unreachable(kind);
            }
            received => received?,
        };
        let reply = self.read(&octets, from_second)?;
        if !self.says_little(&reply) {
            return Ok(Some(reply));
        }
        match &self.second {
            None => {
                self.await_again(false);
                self.ask_once_more(&reply.reply).await?;
            }
            Some(_) if !from_second => self.await_again(false),
            // With EDNS for the sake of signatures, and not understood: the last try is without, for names that have none.
            Some(second) if second.with_edns && reply.reply.is_not_understood() && !reply.reply.has_edns => {
                self.open_second(false).await?;
            }
            Some(_) => return Ok(Some(reply)),
        }
        self.so_far = Some(Ok(reply));
        Ok(None)
    }

    /// Has the question sent again to a host that says that nobody listens, after a pause.
    ///
    /// # Errors
    /// It was sent again often enough, and no reply came before.
    fn retry_unreachable(&mut self, kind: io::ErrorKind) -> Result<Option<UdpReply>, ExchangeError> {
        self.signals.is_unreachable.store(true, Ordering::Relaxed);
        self.signals.pass_over();
        if matches!(self.so_far, Some(Err(_))) {
            // Noted since the question was sent last: this is about another question at the same socket.
            return Ok(None);
        }
        let Some((pause, left)) = self.unreachable_pauses.split_first() else {
            return self.so_far.take().unwrap_or(Err(ExchangeError::Unreachable(kind))).map(Some);
        };
        self.unreachable_pauses = left;
        self.so_far.get_or_insert(Err(ExchangeError::Unreachable(kind)));
        self.resend_at = Instant::now() + *pause;
        Ok(None)
    }

    fn read(&self, octets: &[u8], from_second: bool) -> Result<UdpReply, ExchangeError> {
        let reply = UpstreamReply::read(octets)?;
        let first_with_edns = self.edns != EdnsSupport::Unsupported;
        let with_edns = match &self.second {
            Some(second) if from_second => second.with_edns,
            _ => first_with_edns,
        };
        let is_understood = reply.repeats_question && !reply.is_not_understood();
        let fell_back = first_with_edns && !with_edns && is_understood && !reply.has_edns;
        Ok(UdpReply { reply, with_edns, fell_back })
    }

    /// Whether the question is to be asked once more, if it was not yet.
    fn says_little(&self, received: &UdpReply) -> bool {
        let reply = &received.reply;
        !reply.repeats_question || received.with_edns && reply.is_not_understood() && !reply.has_edns
    }

    /// Asks once more, behind a reply that says little.
    ///
    /// With EDNS only where its absence cannot be the reason, or where signatures would be missing without it: then without
    /// EDNS at last, if that is not understood either ([`take`](Self::take)).
    async fn ask_once_more(&mut self, reply: &UpstreamReply) -> Result<(), ExchangeError> {
        let is_about_edns = reply.is_not_understood();
        let is_known = self.edns == EdnsSupport::Supported;
        if !is_about_edns || is_known {
            self.signals.pass_over();
        }
        let wants_edns = !is_about_edns || is_known && self.question.dnssec_ok;
        self.open_second(wants_edns && self.edns != EdnsSupport::Unsupported).await
    }

    async fn open_second(&mut self, with_edns: bool) -> Result<(), ExchangeError> {
        let open = self.sockets.open(self.question.to_message(with_edns).to_vec()?)?;
        open.send().await?;
        self.second = Some(SecondQuestion { open, with_edns });
        Ok(())
    }

    /// Sends again; also without EDNS if the upstream may be silent because of EDNS.
    async fn resend(&mut self) -> Result<(), ExchangeError> {
        if let Some(on_silence) = self.signals.on_silence {
            on_silence();
        }
        self.resend_at = Instant::now() + 2 * self.resend_pause;
        self.resend_pause *= 2;
        if matches!(self.so_far, Some(Err(_))) {
            self.so_far = None;
        }
        self.first.send().await?;
        match &self.second {
            Some(second) => second.open.send().await,
            None if self.edns == EdnsSupport::Unknown => self.open_second(false).await,
            None => Ok(()),
        }
    }

    fn await_again(&mut self, from_second: bool) {
        match &mut self.second {
            Some(second) if from_second => second.open.await_again(),
            _ => self.first.await_again(),
        }
    }
}

/// The reply to the second question; waits for ever if there is none.
async fn reply_if_any(second: &mut Option<SecondQuestion>) -> Result<Vec<u8>, ExchangeError> {
    match second {
        Some(second) => second.open.reply().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
