use super::*;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use std::net::SocketAddr;
use tokio::net::UdpSocket;

const LIMIT: Duration = Duration::from_secs(10);

fn question_of(text: &str) -> UpstreamQuestion {
    UpstreamQuestion::own(Name::from_ascii(text).expect("a name"), RecordType::A)
}

async fn upstream() -> (UdpSocket, QuerySockets) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let sockets = QuerySockets::new(socket.local_addr().expect("an address"));
    (socket, sockets)
}

/// Asks an upstream of which so much is known; also says whether the next upstream is to be asked.
async fn ask(
    sockets: &QuerySockets,
    question: &UpstreamQuestion,
    edns: EdnsSupport,
    limit: Duration,
) -> (Result<UdpReply, ExchangeError>, bool) {
    let signals = ExchangeSignals::default();
    let end = Instant::now() + limit;
    let received = match UdpExchange::begin(sockets, question, edns, &signals).await {
        Ok(exchange) => exchange.reply_until(end).await,
        Err(error) => Err(error),
    };
    let passed_over = futures_util::FutureExt::now_or_never(signals.pass_over.notified()).is_some();
    (received, passed_over)
}

async fn next(upstream: &UdpSocket) -> (Message, SocketAddr) {
    let mut buffer = [0; 1_500];
    let (len, peer) = upstream.recv_from(&mut buffer).await.expect("a question");
    (Message::from_vec(&buffer[..len]).expect("a question"), peer)
}

async fn reply(upstream: &UdpSocket, mut message: Message, peer: SocketAddr) {
    message.metadata.message_type = MessageType::Response;
    upstream.send_to(&message.to_vec().expect("octets"), peer).await.expect("sent");
}

/// A reply with an rcode and without OPT; the question as well can be left out.
fn refusal(question: &Message, rcode: ResponseCode, header_only: bool) -> Message {
    let mut reply = question.clone();
    reply.metadata.response_code = rcode;
    reply.edns = None;
    if header_only {
        reply.queries.clear();
    }
    reply
}

#[tokio::test]
async fn a_forged_reply_is_ignored() {
    let (upstream, sockets) = upstream().await;
    let asked = question_of("a.example.org.");
    let serve = async {
        let (question, peer) = next(&upstream).await;
        let mut wrong_id = question.clone();
        wrong_id.metadata.id ^= 1;
        reply(&upstream, wrong_id, peer).await;
        let mut wrong_question = question.clone();
        wrong_question.queries = vec![question_of("b.example.org.").query];
        reply(&upstream, wrong_question, peer).await;
        let mut wrong_opcode = question.clone();
        wrong_opcode.metadata.op_code = hickory_proto::op::OpCode::Notify;
        reply(&upstream, wrong_opcode, peer).await;
        upstream.send_to(&question.to_vec().expect("octets"), peer).await.expect("no reply at all");
        upstream.send_to(&question.metadata.id.to_be_bytes(), peer).await.expect("two octets");
        let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        reply(&stranger, question.clone(), peer).await;
        let mut right = question;
        right.metadata.response_code = ResponseCode::NXDomain;
        right.queries = vec![question_of("A.EXAMPLE.org.").query];
        reply(&upstream, right, peer).await;
    };
    let ((got, _), ()) = tokio::join!(ask(&sockets, &asked, EdnsSupport::Supported, LIMIT), serve);
    assert_eq!(got.expect("a reply").reply.reply.rcode, ResponseCode::NXDomain);
}

#[tokio::test]
async fn a_lost_question_is_sent_again_as_it_was() {
    let (upstream, sockets) = upstream().await;
    let asked = question_of("a.example.org.");
    let serve = async {
        let first = next(&upstream).await;
        let (question, peer) = next(&upstream).await;
        assert_eq!((first.0.metadata.id, first.1), (question.metadata.id, peer), "as it was");
        reply(&upstream, question, peer).await;
    };
    let ((got, passed_over), ()) = tokio::join!(ask(&sockets, &asked, EdnsSupport::Supported, LIMIT), serve);
    assert!(got.expect("a reply").with_edns && !passed_over);
    let (got, _) = ask(&sockets, &asked, EdnsSupport::Supported, Duration::from_millis(20)).await;
    assert!(matches!(got, Err(ExchangeError::Timeout)), "{got:?}");
}

#[tokio::test]
async fn a_server_that_starts_anew_is_waited_for_while_the_next_one_is_asked() {
    let (upstream, sockets) = upstream().await;
    let address = upstream.local_addr().expect("an address");
    drop(upstream);
    let (asked, signals) = (question_of("a.example.org."), ExchangeSignals::default());
    let exchange = async {
        let begun = UdpExchange::begin(&sockets, &asked, EdnsSupport::Supported, &signals).await;
        begun.expect("sent").reply_until(Instant::now() + LIMIT).await
    };
    let serve = async {
        signals.pass_over.notified().await;
        let upstream = UdpSocket::bind(address).await.expect("the same port");
        let (question, peer) = next(&upstream).await;
        reply(&upstream, question, peer).await;
    };
    let (got, ()) = tokio::join!(exchange, serve);
    assert!(got.is_ok(), "{got:?}");
}

#[tokio::test]
async fn where_nobody_listens_the_network_is_to_blame() {
    let (upstream, sockets) = upstream().await;
    drop(upstream);
    let asked = question_of("a.example.org.");
    for edns in [EdnsSupport::Unknown, EdnsSupport::Supported] {
        // Without the end of the retries this would take ten seconds.
        let begun = Instant::now();
        let (got, passed_over) = ask(&sockets, &asked, edns, LIMIT).await;
        assert!(matches!(got, Err(ExchangeError::Unreachable(_))) && passed_over, "{got:?}");
        let pauses: Duration = UNREACHABLE_RETRY_PAUSES.iter().sum();
        assert!((pauses..LIMIT).contains(&begun.elapsed()));
    }
    let signals = ExchangeSignals::default();
    let exchange = UdpExchange::begin(&sockets, &asked, EdnsSupport::Unknown, &signals).await.expect("sent");
    let mut exchange = exchange.without_retries_where_nobody_listens();
    let refused = || io::ErrorKind::ConnectionRefused;
    assert!(exchange.retry_unreachable(refused()).is_err(), "at once");
}

#[tokio::test]
async fn many_refusals_of_one_moment_count_once() {
    let (_upstream, sockets) = upstream().await;
    let (asked, signals) = (question_of("a.example.org."), ExchangeSignals::default());
    let exchange = UdpExchange::begin(&sockets, &asked, EdnsSupport::Unknown, &signals).await.expect("sent");
    let mut exchange = exchange;
    // Of the other questions at the same socket.
    for _ in 0..200 {
        let noted = exchange.retry_unreachable(io::ErrorKind::ConnectionRefused);
        assert!(matches!(noted, Ok(None)), "{noted:?}");
    }
    assert_eq!(exchange.unreachable_pauses.len(), UNREACHABLE_RETRY_PAUSES.len() - 1);
}

#[tokio::test]
async fn a_server_without_edns_is_asked_without_for_this_question() {
    use ResponseCode::{FormErr, NotImp};
    for (rcode, header_only) in [(FormErr, false), (FormErr, true), (NotImp, false), (NotImp, true)] {
        for edns in [EdnsSupport::Unknown, EdnsSupport::Supported] {
            let (upstream, sockets) = upstream().await;
            let asked = question_of("a.example.org.");
            let serve = async {
                let (question, peer) = next(&upstream).await;
                reply(&upstream, refusal(&question, rcode, header_only), peer).await;
                // Another copy of the same reply is not a reply to the second question.
                reply(&upstream, refusal(&question, rcode, header_only), peer).await;
                let (plain, peer) = next(&upstream).await;
                assert!(question.edns.is_some() && plain.edns.is_none());
                assert_ne!(question.metadata.id, plain.metadata.id);
                reply(&upstream, plain, peer).await;
            };
            let ((got, passed_over), ()) = tokio::join!(ask(&sockets, &asked, edns, LIMIT), serve);
            let got = got.expect("a reply");
            assert!(got.fell_back && !got.with_edns, "{got:?}");
            // A server that knows EDNS has another reason, so the next one is asked as well.
            assert_eq!(passed_over, edns == EdnsSupport::Supported);
        }
    }
}

#[tokio::test]
async fn a_forged_error_costs_no_signatures() {
    let (upstream, sockets) = upstream().await;
    let asked = UpstreamQuestion { dnssec_ok: true, ..question_of("a.example.org.") };
    for (rcode, header_only) in [(ResponseCode::FormErr, true), (ResponseCode::FormErr, false)] {
        let serve = async {
            let (question, peer) = next(&upstream).await;
            reply(&upstream, refusal(&question, rcode, header_only), peer).await;
            let (again, _) = next(&upstream).await;
            assert!(again.edns.is_some_and(|edns| edns.flags().dnssec_ok), "DO again");
            // The genuine reply to the first question.
            reply(&upstream, question, peer).await;
        };
        let ((got, _), ()) = tokio::join!(ask(&sockets, &asked, EdnsSupport::Supported, LIMIT), serve);
        let got = got.expect("a reply");
        assert!(got.reply.has_edns && !got.fell_back, "{got:?}");
    }
}

#[tokio::test]
async fn a_question_for_signatures_that_is_not_understood_twice_goes_without_edns() {
    for (rcode, header_only) in [(ResponseCode::FormErr, false), (ResponseCode::NotImp, true)] {
        let (upstream, sockets) = upstream().await;
        let asked = UpstreamQuestion { dnssec_ok: true, ..question_of("a.example.org.") };
        let serve = async {
            for _ in 0..2 {
                let (question, peer) = next(&upstream).await;
                assert!(question.edns.is_some());
                reply(&upstream, refusal(&question, rcode, header_only), peer).await;
            }
            let (plain, peer) = next(&upstream).await;
            assert!(plain.edns.is_none());
            reply(&upstream, plain, peer).await;
        };
        let ((got, _), ()) = tokio::join!(ask(&sockets, &asked, EdnsSupport::Supported, LIMIT), serve);
        let got = got.expect("a reply");
        assert!(got.fell_back && !got.with_edns && got.reply.repeats_question, "{got:?}");
    }
}

#[tokio::test]
async fn an_error_that_comes_twice_ends_the_exchange() {
    for rcode in
        [ResponseCode::FormErr, ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NXDomain]
    {
        let (upstream, sockets) = upstream().await;
        let asked = question_of("a.example.org.");
        let serve = async {
            for _ in 0..2 {
                let (question, peer) = next(&upstream).await;
                reply(&upstream, refusal(&question, rcode, true), peer).await;
            }
        };
        let ((got, _), ()) = tokio::join!(ask(&sockets, &asked, EdnsSupport::Supported, LIMIT), serve);
        let got = got.expect("a reply");
        assert!(!got.reply.repeats_question && !got.fell_back, "{got:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_silent_for_edns_gets_the_question_without() {
    let (upstream, sockets) = upstream().await;
    let asked = question_of("a.example.org.");
    let serve = async {
        loop {
            let (question, peer) = next(&upstream).await;
            if question.edns.is_none() {
                return reply(&upstream, question, peer).await;
            }
        }
    };
    let ((got, _), ()) = tokio::join!(ask(&sockets, &asked, EdnsSupport::Unknown, LIMIT), serve);
    assert!(got.expect("a reply").fell_back);
    let (got, _) = ask(&sockets, &asked, EdnsSupport::Supported, Duration::from_millis(900)).await;
    assert!(matches!(got, Err(ExchangeError::Timeout)), "one that knows EDNS is asked with: {got:?}");
    let mut questions = 0;
    while let Some((question, _)) = futures_util::FutureExt::now_or_never(next(&upstream)) {
        assert!(question.edns.is_some());
        questions += 1;
    }
    assert!(questions >= 1);
}
