//! Questions to one upstream over TCP (RFC 7766), on one connection that all questions of a time share.
//!
//! hickory-resolver makes the connection and finds the messages in it. Questions and replies are matched here, as they
//! are over UDP, because a reply is wanted as octets: its records need not be understood.

use super::context::UpstreamContext;
use super::exchange_error::ExchangeError;
use super::message::{UpstreamQuestion, UpstreamReply};
use super::pending_replies::PendingReplies;
use crate::lock::lock;
use futures_util::StreamExt;
use hickory_proto::op::SerialMessage;
use hickory_resolver::net::runtime::{RuntimeProvider, TokioRuntimeProvider};
use hickory_resolver::net::tcp::TcpStream;
use hickory_resolver::net::xfer::StreamReceiver;
use hickory_resolver::net::{BufDnsStreamHandle, DnsStreamHandle};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Questions that one TCP connection carries at once.
const MAX_PIPELINED: usize = 256;

/// How long a connection that nobody uses stays open: some seconds (RFC 7766 §6.2.3).
const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a question is sent over a connection that others share, when the server closes connections. Behind that it
/// gets a connection of its own: some servers close the connection after each reply.
const SHARED_TRIES: usize = 2;

/// The TCP connection to an upstream.
pub(super) struct TcpTransport {
    address: SocketAddr,
    current: Mutex<Option<Arc<TcpConnection>>>,
}

/// A connection, or one that is being made. It ends when nobody holds it any more.
struct TcpConnection {
    address: SocketAddr,
    pending: Arc<PendingReplies>,
    progress: Arc<Progress>,
    questions: Mutex<BufDnsStreamHandle>,
    used: Mutex<Instant>,
    /// The one task that makes the connection and serves it; it is aborted when this value is dropped.
    _driver: JoinSet<()>,
}

/// What became of a connection.
#[derive(Debug, Default)]
struct Progress {
    is_closed: AtomicBool,
    /// Messages that came.
    messages: AtomicU64,
}

impl TcpTransport {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, current: Mutex::default() }
    }

    /// Gives up the connection: the next question makes a new one.
    pub(super) fn close(&self) {
        *lock(&self.current) = None;
    }

    /// Closes the connection if nobody used it for some time.
    pub(super) fn close_idle(&self) {
        lock(&self.current).take_if(|connection| {
            lock(&connection.used).elapsed() > TCP_IDLE_TIMEOUT && connection.pending.len() == 0
        });
    }

    /// Asks over the open connection, else over a new one.
    ///
    /// # Errors
    /// No reply came within the timeout of the context, the reply cannot be read, or no connection can be made.
    pub(super) async fn exchange(
        &self,
        question: &UpstreamQuestion,
        with_edns: bool,
        context: &UpstreamContext,
    ) -> Result<UpstreamReply, ExchangeError> {
        let mut octets = question.to_message(with_edns).to_vec()?;
        let end = Instant::now() + context.timeout();
        for _ in 0..SHARED_TRIES {
            let connection = self.connection(context);
            match self.exchange_over(&connection, &mut octets, end).await {
                // Servers close idle connections, and only the next question shows that.
                Err(ExchangeError::Closed | ExchangeError::TooManyPending) => {}
                received => return UpstreamReply::read(&received?),
            }
        }
        let own = TcpConnection::open(self.address, &context.provider);
        UpstreamReply::read(&self.exchange_over(&own, &mut octets, end).await?)
    }

    /// Asks over a connection, which is given up when nothing comes over it any more.
    async fn exchange_over(
        &self,
        connection: &Arc<TcpConnection>,
        octets: &mut [u8],
        end: Instant,
    ) -> Result<Vec<u8>, ExchangeError> {
        let messages = || connection.progress.messages.load(Ordering::Relaxed);
        let before = messages();
        let received = timeout_at(end, connection.exchange(octets)).await;
        if received.is_err() && messages() == before {
            lock(&self.current).take_if(|current| Arc::ptr_eq(current, connection));
        }
        received.unwrap_or(Err(ExchangeError::Timeout))
    }

    /// The connection for one more question.
    fn connection(&self, context: &UpstreamContext) -> Arc<TcpConnection> {
        let mut current = lock(&self.current);
        match current.as_ref().filter(|connection| connection.has_room()) {
            Some(connection) => Arc::clone(connection),
            None => Arc::clone(current.insert(TcpConnection::open(self.address, &context.provider))),
        }
    }
}

impl TcpConnection {
    /// Begins to connect; questions may be sent at once.
    fn open(address: SocketAddr, provider: &TokioRuntimeProvider) -> Arc<Self> {
        let (pending, progress) = (Arc::<PendingReplies>::default(), Arc::<Progress>::default());
        let (questions, queue) = BufDnsStreamHandle::with_buffer_size(address, MAX_PIPELINED);
        let mut driver = JoinSet::new();
        let connect = provider.connect_tcp(address, None, None);
        driver.spawn(drive(connect, queue, address, Arc::clone(&pending), Arc::clone(&progress)));
        Arc::new(Self {
            address,
            pending,
            progress,
            questions: Mutex::new(questions),
            used: Mutex::new(Instant::now()),
            _driver: driver,
        })
    }

    fn is_closed(&self) -> bool {
        self.progress.is_closed.load(Ordering::Acquire)
    }

    fn has_room(&self) -> bool {
        !self.is_closed() && self.pending.len() < MAX_PIPELINED
    }

    /// Sends a question and gives the octets of the reply.
    async fn exchange(&self, octets: &mut [u8]) -> Result<Vec<u8>, ExchangeError> {
        *lock(&self.used) = Instant::now();
        let mut awaited = self.pending.register(octets, MAX_PIPELINED)?;
        // The driver says that the connection is closed before it fails the questions that wait, so this one is failed
        // there or here.
        if self.is_closed() {
            return Err(ExchangeError::Closed);
        }
        let message = SerialMessage::new(octets.to_vec(), self.address);
        lock(&self.questions).send(message).map_err(|_| ExchangeError::TooManyPending)?;
        awaited.next().await
    }
}

/// Makes a connection, and gives the messages that come over it to their questions until it ends.
async fn drive<C>(
    connect: C,
    queue: StreamReceiver,
    address: SocketAddr,
    pending: Arc<PendingReplies>,
    progress: Arc<Progress>,
) where
    C: Future<Output = io::Result<<TokioRuntimeProvider as RuntimeProvider>::Tcp>>,
{
    let mut stream = match connect.await {
        Ok(connected) => TcpStream::from_stream_with_receiver(connected, address, queue),
        Err(error) => {
            progress.is_closed.store(true, Ordering::Release);
            pending.fail(|| ExchangeError::Connect(error.kind()));
            return;
        }
    };
    while let Some(Ok(message)) = stream.next().await {
        progress.messages.fetch_add(1, Ordering::Relaxed);
        pending.dispatch(message.bytes());
    }
    progress.is_closed.store(true, Ordering::Release);
    pending.fail(|| ExchangeError::Closed);
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpTransport({})", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Message, MessageType};
    use hickory_proto::rr::{Name, RecordType};
    use std::sync::atomic::AtomicUsize;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Serves a listener: gives each connection's questions back as replies, `batch` at a time and the last one first,
    /// and closes a connection after so many batches. Counts connections.
    async fn serve(listener: TcpListener, batch: usize, batches: usize, count: Arc<AtomicUsize>) {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            connections.spawn(async move {
                for _ in 0..batches {
                    let mut replies = Vec::new();
                    for _ in 0..batch {
                        let Ok(len) = stream.read_u16().await else { return };
                        let mut octets = vec![0; len.into()];
                        stream.read_exact(&mut octets).await.expect("a question");
                        let mut reply = Message::from_vec(&octets).expect("a question");
                        reply.metadata.message_type = MessageType::Response;
                        replies.push(reply.to_vec().expect("octets"));
                    }
                    for reply in replies.iter().rev() {
                        let len = u16::try_from(reply.len()).expect("a length");
                        stream.write_u16(len).await.expect("written");
                        stream.write_all(reply).await.expect("written");
                    }
                }
            });
        }
    }

    /// Asks so many questions at once; returns how many got a reply.
    async fn ask(tcp: &TcpTransport, questions: usize, context: &UpstreamContext) -> usize {
        let asked: Vec<_> = (0..questions)
            .map(|n| Name::from_ascii(format!("n{n}.example.org.")).expect("a name"))
            .map(|name| UpstreamQuestion::own(name, RecordType::A))
            .collect();
        let all = asked.iter().map(|question| tcp.exchange(question, true, context));
        futures_util::future::join_all(all).await.iter().filter(|reply| reply.is_ok()).count()
    }

    #[tokio::test]
    async fn questions_of_one_moment_share_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let (tcp, count) = (TcpTransport::new(listener.local_addr().expect("an address")), Arc::default());
        let context = UpstreamContext::new(Duration::from_secs(5));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, 100, usize::MAX, Arc::clone(&count)));
        assert_eq!(ask(&tcp, 100, &context).await, 100);
        assert_eq!(ask(&tcp, 100, &context).await, 100);
        assert_eq!(count.load(Ordering::SeqCst), 1, "connections");
    }

    #[tokio::test]
    async fn a_server_that_closes_after_each_reply_answers_every_question() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let (tcp, count) = (TcpTransport::new(listener.local_addr().expect("an address")), Arc::default());
        let context = UpstreamContext::new(Duration::from_secs(5));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, 1, 1, Arc::clone(&count)));
        assert_eq!(ask(&tcp, 5, &context).await, 5);
        assert_eq!(ask(&tcp, 1, &context).await, 1);
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_an_error_of_the_network() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let tcp = TcpTransport::new(listener.local_addr().expect("an address"));
        drop(listener);
        let question = UpstreamQuestion::own(Name::root(), RecordType::NS);
        let context = UpstreamContext::new(Duration::from_secs(5));
        let error = tcp.exchange(&question, true, &context).await.expect_err("nobody listens");
        assert!(error.is_of_network(), "{error}");
    }
}
