//! TCP: many queries on one connection, replies in the order they are ready (RFC 7766).

use super::connections::{Connections, Open, Room};
use super::handler::{Handled, Handler, Protocol};
use crate::logging::RateLimitedLog;
use crate::metrics::SocketWork;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a connection without a query stays open (RFC 7766 §6.2.3).
const IDLE: Duration = Duration::from_secs(10);

/// Time for the rest of a query that began, and for a client to take replies.
const SLOW: Duration = Duration::from_secs(5);

/// Queries of one connection that wait at once; the next is read when one is answered.
const PIPELINED: usize = 64;

/// Replies of one connection that wait to be written; their octets are bounded as well.
const UNWRITTEN: usize = 64;

/// Octets that are written at once.
const AT_ONCE: usize = 64 << 10;

/// How long queries that were sent before the program was told to stop are still read.
const LAST: Duration = Duration::from_millis(20);

/// Rest after an error of accepting, such as too many open files.
const REST: Duration = Duration::from_millis(50);

/// Serves a listener until `stop` says so; what is under way then is finished.
pub async fn serve(
    listener: TcpListener,
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
                let (handler, open, stop) = (Arc::clone(&handler), table.open(peer.ip()), stop.clone());
                connections.spawn(async move {
                    let open = Arc::new(open);
                    let served = tokio::select! {
                        biased;
                        () = open.evicted() => Err(io::ErrorKind::QuotaExceeded.into()),
                        served = connection(stream, peer, handler, Arc::clone(&open), stop) => served,
                    };
                    if let Err(error) = served {
                        log::debug!("connection of {peer}: {error}");
                    }
                });
            }
            Err(error) => {
                // Peers can cause it by opening many.
                log::log!(failures.level(log::Level::Warn), "accepting a connection: {error}");
                handler.metrics().socket_failed(SocketWork::Accept, 1);
                tokio::time::sleep(REST).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    handler: Arc<Handler>,
    open: Arc<Open>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut last_call = LastCall { stop, end: None };
    let (read, write) = stream.into_split();
    let (replies, unwritten) = mpsc::channel(UNWRITTEN);
    let reading = async move {
        let mut read = BufReader::new(read);
        let permits = Arc::new(Semaphore::new(PIPELINED));
        let mut waiting = JoinSet::new();
        loop {
            while waiting.try_join_next().is_some() {}
            let Some(packet) = last_call.next(next(&mut read, &open)).await? else { break };
            // A client that does not read its replies waits here until it is cut off.
            let Some(mut room) = open.room().await else { break };
            open.query();
            match handler.handle(&packet, peer, Protocol::Tcp) {
                Handled::Drop => open.answered(),
                Handled::Reply(reply, _) => {
                    open.answered();
                    if !open.fit(&mut room, reply.len()).await || replies.send((reply, room)).await.is_err() {
                        break;
                    }
                }
                Handled::Pending(query) => {
                    let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
                    let (handler, open, replies) = (Arc::clone(&handler), Arc::clone(&open), replies.clone());
                    waiting.spawn(async move {
                        let _permit = permit;
                        let reply = handler.finish(query).await;
                        open.answered();
                        if open.fit(&mut room, reply.len()).await {
                            // A client that is gone needs no reply.
                            let _ = replies.send((reply, room)).await;
                        } else {
                            open.cut();
                        }
                    });
                }
            }
        }
        // A client may have closed its half and still wait for replies.
        while waiting.join_next().await.is_some() {}
        Ok(())
    };
    // When writing fails nobody is left to read for.
    tokio::try_join!(reading, writing(write, unwritten)).map(|_| ())
}

/// What is still read once the program is to stop: only what was sent before.
struct LastCall {
    stop: watch::Receiver<bool>,
    end: Option<Instant>,
}

impl LastCall {
    /// The next query, `None` if no more is to be read.
    async fn next(
        &mut self,
        next: impl Future<Output = io::Result<Option<Vec<u8>>>>,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut next = pin!(next);
        if self.end.is_none() {
            tokio::select! {
                biased;
                packet = &mut next => return packet,
                _ = self.stop.wait_for(|stop| *stop) => self.end = Some(Instant::now() + LAST),
            }
        }
        match self.end {
            Some(end) => timeout_at(end, next).await.unwrap_or(Ok(None)),
            None => Ok(None),
        }
    }
}

/// The next query; `None` at the end of the stream.
async fn next(read: &mut BufReader<OwnedReadHalf>, open: &Open) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 2];
    loop {
        match timeout(IDLE, read.read(&mut len[..1])).await {
            Ok(Ok(0)) => return Ok(None),
            Ok(Ok(_)) => break,
            Ok(Err(error)) => return Err(error),
            Err(_) if open.is_busy() => {}
            Err(_) => return Ok(None),
        }
    }
    let slow = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(SLOW, read.read_exact(&mut len[1..])).await.map_err(slow)??;
    let mut packet = vec![0; usize::from(u16::from_be_bytes(len))];
    timeout(SLOW, read.read_exact(&mut packet)).await.map_err(slow)??;
    Ok(Some(packet))
}

/// Writes replies, those that are ready together up to a limit.
async fn writing(
    mut write: OwnedWriteHalf,
    mut unwritten: mpsc::Receiver<(Vec<u8>, Room)>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut rooms = Vec::new();
    while let Some((reply, room)) = unwritten.recv().await {
        frame(&mut buffer, &reply);
        rooms.push(room);
        while buffer.len() < AT_ONCE {
            let Ok((reply, room)) = unwritten.try_recv() else { break };
            frame(&mut buffer, &reply);
            rooms.push(room);
        }
        match timeout(SLOW, write.write_all(&buffer)).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        buffer.clear();
        rooms.clear();
    }
    write.shutdown().await
}

fn frame(buffer: &mut Vec<u8>, reply: &[u8]) {
    // Replies are cut to 65,535 octets when they are made.
    let len = u16::try_from(reply.len()).unwrap_or(u16::MAX);
    buffer.extend_from_slice(&len.to_be_bytes());
    buffer.extend_from_slice(&reply[..usize::from(len)]);
}
