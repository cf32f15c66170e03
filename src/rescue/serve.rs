//! The sockets: a thread for each that takes datagrams, a task for each listener and connection.

use super::own::{OwnAnswer, OwnNames};
use super::query::{NoQuery, Query, Rcode};
use super::relay::{Relay, framed, read_message, within};
use super::settings::OwnDomains;
use crate::server::{Listener, PlainClient, PlainPolicy, Rights, receive_plain};
use crate::systemd::Sockets;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

/// Connections of clients that everything is answered for, and of others. More are closed at once.
const MAX_CONNECTIONS: (usize, usize) = (128, 32);

/// How long a connection may be without a query, and how long a reply may take to be written.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after an error of accepting.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// All that queries are answered with.
#[derive(Debug)]
pub(super) struct Rescue {
    pub(super) policy: PlainPolicy,
    pub(super) relay: Relay,
    /// `None` if only questions for names outside are answered.
    pub(super) own: Option<Arc<OwnNames>>,
    /// The domains of flags and variables.
    pub(super) domains: OwnDomains,
}

/// What becomes of a query without waiting.
enum Turn {
    Reply(Vec<u8>),
    Drop,
    /// Upstreams are to be asked.
    Ask,
}

/// Starts to serve all sockets; the errors of sockets that cannot be served any more come out of the channel.
///
/// # Errors
/// A socket cannot be set up, or the system has no thread to give.
pub(super) fn start(rescue: &Arc<Rescue>, sockets: Sockets) -> io::Result<mpsc::Receiver<io::Error>> {
    let (fail, failed) = mpsc::channel(1);
    for socket in sockets.udp {
        let (rescue, fail, runtime) = (Arc::clone(rescue), fail.clone(), Handle::current());
        let serve = move || {
            let Err(error) = serve_udp(socket, &rescue, &runtime);
            let _ = fail.blocking_send(error);
        };
        thread::Builder::new().name("udp".to_owned()).spawn(serve)?;
    }
    let places = [MAX_CONNECTIONS.0, MAX_CONNECTIONS.1].map(|most| Arc::new(Semaphore::new(most)));
    for listener in sockets.tcp {
        spawn(serve_tcp(Listener::new(listener)?, Arc::clone(rescue), places.clone()));
    }
    Ok(failed)
}

/// Starts a task; none of them is waited for.
#[expect(
    clippy::disallowed_methods,
    reason = "no task is needed for others to go on, and a fault costs its query"
)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

fn serve_udp(
    socket: UdpSocket,
    rescue: &Arc<Rescue>,
    runtime: &Handle,
) -> io::Result<std::convert::Infallible> {
    let _entered = runtime.enter();
    receive_plain(socket, |packet, client| {
        let (rights, max_reply) = rescue.policy.rights(&client);
        match rescue.turn(packet, rights, Some(max_reply)) {
            Turn::Drop => {}
            Turn::Reply(reply) => client.send(&reply),
            Turn::Ask => spawn(ask(Arc::clone(rescue), packet.to_vec(), client)),
        }
    })
}

/// Asks upstreams a query that came over UDP.
async fn ask(rescue: Arc<Rescue>, packet: Vec<u8>, client: PlainClient) {
    if let Ok(query) = Query::read(&packet) {
        client.send(&rescue.relay.ask(&query).await);
    }
}

impl Rescue {
    /// Answers a packet as far as it goes without waiting; `max_reply` is the most octets of a reply over UDP, `None` over TCP.
    fn turn(&self, packet: &[u8], rights: Rights, max_reply: Option<u16>) -> Turn {
        let query = match Query::read(packet) {
            Ok(query) => query,
            Err(NoQuery::Drop) => return Turn::Drop,
            Err(NoQuery::Reply(reply)) => return Turn::Reply(reply),
        };
        if rights == Rights::OverTcp {
            return Turn::Reply(query.ask_over_tcp());
        }
        let own = match &self.own {
            Some(own) if own.may_answer(&query) => own.answer(packet, rights == Rights::All, max_reply),
            None if self.domains.contain(query.name()) || !query.is_internet() => {
                OwnAnswer::Reply(query.reply(Rcode::ServFail))
            }
            _ => OwnAnswer::Forward,
        };
        match own {
            OwnAnswer::Reply(reply) => Turn::Reply(reply),
            OwnAnswer::Failed => Turn::Reply(query.reply(Rcode::ServFail)),
            OwnAnswer::Forward if rights == Rights::All => Turn::Ask,
            OwnAnswer::Forward => Turn::Reply(query.reply(Rcode::Refused)),
        }
    }
}

/// Accepts connections, for ever.
async fn serve_tcp(listener: Listener, rescue: Arc<Rescue>, places: [Arc<Semaphore>; 2]) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
            continue;
        };
        let local = stream.local_addr().unwrap_or(peer);
        let Some(rights) = rescue.policy.rights_over_tcp(peer, local) else { continue };
        let places = &places[usize::from(rights != Rights::All)];
        let Ok(place) = Arc::clone(places).try_acquire_owned() else { continue };
        let rescue = Arc::clone(&rescue);
        spawn(async move {
            // An error ends the connection, which the client sees.
            let _ = serve_connection(stream, &rescue, rights).await;
            drop(place);
        });
    }
}

/// Answers the queries of a connection one after the other.
async fn serve_connection(mut stream: TcpStream, rescue: &Rescue, rights: Rights) -> io::Result<()> {
    loop {
        let packet = within(CONNECTION_TIMEOUT, read_message(&mut stream)).await?;
        let reply = match rescue.turn(&packet, rights, None) {
            Turn::Reply(reply) => reply,
            Turn::Drop => return Ok(()),
            Turn::Ask => match Query::read(&packet) {
                Ok(query) => rescue.relay.ask_over_tcp(&query).await,
                Err(_) => return Ok(()),
            },
        };
        within(CONNECTION_TIMEOUT, stream.write_all(&framed(&reply))).await?;
    }
}
