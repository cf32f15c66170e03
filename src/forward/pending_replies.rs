//! The questions that wait for replies at one socket or connection, by id; and which message is a reply to which of them.
//!
//! Messages are looked at as octets: header and question section alone decide (RFC 5452 §9.1, RFC 1035 §7.3). What is
//! not a reply to a question that waits is ignored, because it may be forged, and the wait goes on.

use super::exchange_error::ExchangeError;
use crate::lock::lock;
use crate::wire::HEADER;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// The questions that wait at one socket or connection.
#[derive(Debug, Default)]
pub(super) struct PendingReplies {
    by_id: Mutex<HashMap<u16, PendingReply>>,
}

/// A question that waits for its reply.
#[derive(Debug)]
struct PendingReply {
    /// The question section as it was sent: the reply repeats it, in any letter case.
    question: Vec<u8>,
    /// Where the reply goes; `None` once one was sent there.
    reply: Option<oneshot::Sender<Received>>,
}

/// The octets of a reply, or what came in its place.
type Received = Result<Vec<u8>, ExchangeError>;

/// A question that has an id, until this is dropped.
#[derive(Debug)]
pub(super) struct AwaitedReply {
    replies: Arc<PendingReplies>,
    id: u16,
    receiver: oneshot::Receiver<Received>,
}

impl PendingReplies {
    /// Writes an id into a question that is free here and that nobody can guess (RFC 5452 §4.3), and waits for replies
    /// from then on.
    ///
    /// # Errors
    /// At least `limit` questions wait.
    pub(super) fn register(
        self: &Arc<Self>,
        octets: &mut [u8],
        limit: usize,
    ) -> Result<AwaitedReply, ExchangeError> {
        let mut by_id = lock(&self.by_id);
        if by_id.len() >= limit {
            return Err(ExchangeError::TooManyPending);
        }
        let id = loop {
            let id = rand::random();
            if !by_id.contains_key(&id) {
                break id;
            }
        };
        if let Some(start) = octets.first_chunk_mut() {
            *start = id.to_be_bytes();
        }
        let (sender, receiver) = oneshot::channel();
        let question = question_octets(octets).to_vec();
        by_id.insert(id, PendingReply { question, reply: Some(sender) });
        Ok(AwaitedReply { replies: Arc::clone(self), id, receiver })
    }

    /// Gives a message to the question that it is a reply to; ignores it if there is none.
    pub(super) fn dispatch(&self, octets: &[u8]) {
        let Some(id) = octets.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return };
        let mut by_id = lock(&self.by_id);
        let Some(pending) = by_id.get_mut(&id) else { return };
        if !is_reply(&pending.question, octets) {
            return;
        }
        if let Some(reply) = pending.reply.take() {
            drop(by_id);
            let _ = reply.send(Ok(octets.to_vec()));
        }
    }

    /// Gives an error to every question that waits.
    pub(super) fn fail(&self, error: impl Fn() -> ExchangeError) {
        for reply in lock(&self.by_id).values_mut().filter_map(|pending| pending.reply.take()) {
            let _ = reply.send(Err(error()));
        }
    }

    /// The number of questions that wait.
    pub(super) fn len(&self) -> usize {
        lock(&self.by_id).len()
    }
}

impl AwaitedReply {
    /// The next reply, or what came in its place; cancel safe. Once something came, it is
    /// [awaited again](Self::await_again) before the next call.
    pub(super) async fn next(&mut self) -> Received {
        // Whoever receives replies has ended.
        (&mut self.receiver).await.unwrap_or(Err(ExchangeError::Closed))
    }

    /// Waits for another reply to the same question.
    pub(super) fn await_again(&mut self) {
        let (sender, receiver) = oneshot::channel();
        self.receiver = receiver;
        if let Some(pending) = lock(&self.replies.by_id).get_mut(&self.id) {
            pending.reply = Some(sender);
        }
    }
}

impl Drop for AwaitedReply {
    fn drop(&mut self) {
        lock(&self.replies.by_id).remove(&self.id);
    }
}

/// The question section of a message of ours, which holds one question.
fn question_octets(octets: &[u8]) -> &[u8] {
    let behind = octets.get(HEADER..).unwrap_or_default();
    let mut end = 0;
    while let Some(label) = behind.get(end).filter(|label| **label != 0) {
        end += 1 + usize::from(*label);
    }
    behind.get(..end + 5).unwrap_or_default()
}

/// Whether a message is a response to a query that repeats the question, in any letter case.
///
/// A response with an error may leave the question out, as servers do that understood the header alone (RFC 6891 §7).
fn is_reply(question: &[u8], message: &[u8]) -> bool {
    let Some((header, behind)) = message.split_first_chunk::<HEADER>() else { return false };
    let same = |repeated: &[u8]| {
        let ends = question.len().saturating_sub(4);
        repeated[..ends].eq_ignore_ascii_case(&question[..ends]) && repeated[ends..] == question[ends..]
    };
    let (is_response, opcode, rcode) = (header[2] & 0x80 != 0, header[2] >> 3 & 0x0f, header[3] & 0x0f);
    is_response
        && opcode == 0
        && match header[4..6] {
            [0, 1] => behind.get(..question.len()).is_some_and(same),
            [0, 0] => rcode != 0,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of a header and a question for `a.` A IN.
    fn message(flags: [u8; 2], count: u8, name: u8) -> Vec<u8> {
        let header = [0, 0, flags[0], flags[1], 0, count, 0, 0, 0, 0, 0, 0];
        [header.as_slice(), &[1, name, 0, 0, 1, 0, 1]].concat()
    }

    #[test]
    fn only_a_response_that_repeats_the_question_or_an_error_without_one_is_a_reply() {
        let question = question_octets(&message([1, 0], 1, b'a')).to_vec();
        assert_eq!(question, [1, b'a', 0, 0, 1, 0, 1]);
        let header_only = |rcode| message([0x81, rcode], 0, b'a')[..HEADER].to_vec();
        let rows = [
            ("the question", message([0x81, 0x80], 1, b'a'), true),
            ("the question in upper case", message([0x81, 0x80], 1, b'A'), true),
            ("another question", message([0x81, 0x80], 1, b'b'), false),
            ("two questions", message([0x81, 0x80], 2, b'a'), false),
            ("a query", message([0x01, 0], 1, b'a'), false),
            ("opcode STATUS", message([0x91, 0], 1, b'a'), false),
            ("a cut question", message([0x81, 0x80], 1, b'a')[..15].to_vec(), false),
            ("FORMERR without the question", header_only(1), true),
            ("REFUSED without the question", header_only(5), true),
            ("NOERROR without the question", header_only(0), false),
            ("half a header", message([0x81, 0x80], 1, b'a')[..7].to_vec(), false),
            ("nothing", Vec::new(), false),
        ];
        for (what, octets, is) in rows {
            assert_eq!(is_reply(&question, &octets), is, "{what}");
        }
    }

    #[tokio::test]
    async fn a_question_waits_until_it_is_dropped_and_gets_each_reply_once() {
        let replies = Arc::new(PendingReplies::default());
        let mut octets = message([1, 0], 1, b'a');
        let mut awaited = replies.register(&mut octets, 1).expect("room for one");
        assert!(matches!(replies.register(&mut octets.clone(), 1), Err(ExchangeError::TooManyPending)));
        let mut reply = message([0x81, 0x80], 1, b'a');
        reply[..2].copy_from_slice(&octets[..2]);
        let mut wrong_id = reply.clone();
        wrong_id[1] ^= 1;
        for octets in [&wrong_id, &reply, &reply] {
            replies.dispatch(octets);
        }
        assert_eq!(awaited.next().await.expect("a reply"), reply);
        awaited.await_again();
        replies.fail(|| ExchangeError::Timeout);
        assert!(matches!(awaited.next().await, Err(ExchangeError::Timeout)));
        drop(awaited);
        assert_eq!(replies.len(), 0);
    }
}
