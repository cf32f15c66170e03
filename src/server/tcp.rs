//! TCP: many queries on one connection, replies in the order in which they are ready (RFC 7766).

use super::connections::{Connections, OpenConnection, ReplyPermit};
use super::handler::{Handled, Handler};
use super::listener::Listener;
use super::origin::Origin;
use crate::logging::RateLimitedLog;
use crate::metrics::SocketWork;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a connection without a query stays open (RFC 7766 §6.2.3).
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the rest of a query whose first octet came in, and for a client to take replies.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of pending queries of one connection; the next query is read when one of them is answered.
const MAX_PENDING_QUERIES: usize = 64;

/// Maximum number of replies of one connection that wait to be written; [`ReplyPermit`] bounds their octets.
const MAX_UNWRITTEN_REPLIES: usize = 64;

/// How long a query waits for its client's rate; then the connection is closed.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause until a client's rate is looked at again: the time that ten replies of a network have.
const TURN_PAUSE: Duration = Duration::from_millis(50);

/// A write takes no further reply once it has this many octets.
const MAX_WRITE: usize = 64 << 10;

/// How long queries are still read once the program is to stop: those that were sent before.
const LAST_READ_PERIOD: Duration = Duration::from_millis(20);

/// Pause after an error of accepting, such as too many open files.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Serves a listener until `stop` is true; queries that are pending then are finished.
pub async fn serve(
    listener: Listener,
    handler: Arc<Handler>,
    table: Arc<Connections>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let failures = RateLimitedLog::default();
    loop {
        while let Some(ended) = connections.try_join_next() {
            if ended.is_err() {
                handler.metrics().panicked();
                log::error!("a fault in serving a TCP connection");
            }
        }
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // A connection without a local address is closed already.
                let Ok(local) = stream.local_addr() else { continue };
                let origin = Origin::of_connection(peer, local);
                let open = table.open(origin.ip, handler.is_ours(&origin));
                let (handler, stop) = (Arc::clone(&handler), stop.clone());
                connections.spawn(async move {
                    let open = Arc::new(open);
                    let served = tokio::select! {
                        biased;
                        () = open.evicted() => Err(io::ErrorKind::QuotaExceeded.into()),
                        served = serve_connection(stream, origin, handler, Arc::clone(&open), stop) => served,
                    };
                    if let Err(error) = served {
                        log::debug!("connection of {peer}: {error}");
                    }
                });
            }
            Err(error) => {
                // Clients can cause it by opening many connections.
                log::log!(failures.level(log::Level::Warn), "accepting a connection: {error}");
                handler.metrics().socket_failed(SocketWork::Accept, 1);
                tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(
    stream: TcpStream,
    origin: Origin,
    handler: Arc<Handler>,
    open: Arc<OpenConnection>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = StoppableReader { stop, end: None };
    let (read, write) = stream.into_split();
    let (replies, unwritten) = mpsc::channel(MAX_UNWRITTEN_REPLIES);
    let writing = Arc::clone(&open);
    let reading = async move {
        let mut read = BufReader::new(read);
        let pending = Arc::new(Semaphore::new(MAX_PENDING_QUERIES));
        let mut waiting = JoinSet::new();
        loop {
            while waiting.try_join_next().is_some() {}
            let Some(packet) = reader.next(read_query(&mut read, &open)).await? else { break };
            if !wait_for_turn(&handler, &origin).await {
                break;
            }
            // A client that does not read its replies waits here until its connection is closed.
            let Some(mut permit) = open.reserve_usual().await else { break };
            open.query_received();
            match handler.handle(&packet, &origin) {
                Handled::Drop => open.query_answered(),
                Handled::Reply(reply, _) => {
                    open.query_answered();
                    if !open.fit(&mut permit, reply.len()).await
                        || replies.send((reply, permit)).await.is_err()
                    {
                        break;
                    }
                }
                Handled::Pending(query) => {
                    let Ok(slot) = Arc::clone(&pending).acquire_owned().await else { break };
                    let (handler, open, replies) = (Arc::clone(&handler), Arc::clone(&open), replies.clone());
                    waiting.spawn(async move {
                        let _slot = slot;
                        let reply = handler.finish(query).await;
                        open.query_answered();
                        if open.fit(&mut permit, reply.len()).await {
                            // A client that closed the connection needs no reply.
                            let _ = replies.send((reply, permit)).await;
                        } else {
                            open.close();
                        }
                    });
                }
            }
        }
        // A client may have closed its sending half and still wait for replies.
        while waiting.join_next().await.is_some() {}
        Ok(())
    };
    // When writing fails there is no reason to read on.
    tokio::try_join!(reading, write_replies(write, unwritten, &writing)).map(|_| ())
}

/// Waits until a client may be answered: clients that are not ours have a rate. `false` if too many others of its network
/// wait as well.
async fn wait_for_turn(handler: &Handler, origin: &Origin) -> bool {
    let mut is_counted = false;
    let turn = async {
        while !handler.take_turn(origin) {
            if !is_counted {
                handler.metrics().has_to_wait();
                is_counted = true;
            }
            tokio::time::sleep(TURN_PAUSE).await;
        }
    };
    timeout(TURN_TIMEOUT, turn).await.is_ok()
}

/// Reads on for a moment once the program is to stop.
struct StoppableReader {
    stop: watch::Receiver<bool>,
    end: Option<Instant>,
}

impl StoppableReader {
    /// The next query; `None` if no more is to be read.
    async fn next(
        &mut self,
        next: impl Future<Output = io::Result<Option<Vec<u8>>>>,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut next = pin!(next);
        if self.end.is_none() {
            tokio::select! {
                biased;
                packet = &mut next => return packet,
                _ = self.stop.wait_for(|stop| *stop) => self.end = Some(Instant::now() + LAST_READ_PERIOD),
            }
        }
        match self.end {
            Some(end) => timeout_at(end, next).await.unwrap_or(Ok(None)),
            None => Ok(None),
        }
    }
}

/// The next query; `None` at the end of the stream.
async fn read_query(
    read: &mut BufReader<OwnedReadHalf>,
    open: &OpenConnection,
) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 2];
    loop {
        match timeout(IDLE_TIMEOUT, read.read(&mut len[..1])).await {
            Ok(Ok(0)) => return Ok(None),
            Ok(Ok(_)) => break,
            Ok(Err(error)) => return Err(error),
            Err(_) if open.is_busy() => {}
            Err(_) => return Ok(None),
        }
    }
    let slow = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(TRANSFER_TIMEOUT, read.read_exact(&mut len[1..])).await.map_err(slow)??;
    let mut packet = vec![0; usize::from(u16::from_be_bytes(len))];
    timeout(TRANSFER_TIMEOUT, read.read_exact(&mut packet)).await.map_err(slow)??;
    Ok(Some(packet))
}

/// Writes replies; those that are ready together in one write.
async fn write_replies(
    mut write: OwnedWriteHalf,
    mut unwritten: mpsc::Receiver<(Vec<u8>, ReplyPermit)>,
    open: &OpenConnection,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut permits = Vec::new();
    while let Some((reply, permit)) = unwritten.recv().await {
        frame(&mut buffer, &reply);
        permits.push(permit);
        while buffer.len() < MAX_WRITE {
            let Ok((reply, permit)) = unwritten.try_recv() else { break };
            frame(&mut buffer, &reply);
            permits.push(permit);
        }
        open.note_write(true);
        match timeout(TRANSFER_TIMEOUT, write.write_all(&buffer)).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        open.note_write(false);
        buffer.clear();
        permits.clear();
    }
    write.shutdown().await
}

fn frame(buffer: &mut Vec<u8>, reply: &[u8]) {
    // A reply has at most 65,535 octets: the encoder sees to it.
    let len = u16::try_from(reply.len()).unwrap_or(u16::MAX);
    buffer.extend_from_slice(&len.to_be_bytes());
    buffer.extend_from_slice(&reply[..usize::from(len)]);
}
