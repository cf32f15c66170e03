//! A listening socket that another process may serve as well.

use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// How long a thread waits for a connection that another process was faster to take, in milliseconds; the kernel rounds it up to
/// its own ticks.
const LOST_TIMEOUT: i64 = 1;

/// A listening socket that stops no thread.
///
/// Agent and rescue have the same sockets. Whether a socket blocks is a property of the socket, not of the process, and systemd
/// makes it a blocking one whenever it starts a program with it (`NonBlocking=` in systemd.service(5); with that set, it would take
/// the waiting of the UDP sockets away). A thread of the process that runs already would then wait in `accept` until somebody
/// connects again, and nothing else of its runtime would go on.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Takes a listening socket, within a runtime.
    ///
    /// # Errors
    /// The socket cannot be set up.
    pub fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        setsockopt(&listener, sockopt::ReceiveTimeout, &TimeVal::milliseconds(LOST_TIMEOUT))?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Self)
    }

    /// Waits for the next connection; cancelling it loses none.
    ///
    /// # Errors
    /// Those of accept(2).
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        // Else each connection would cost a wait from the other program's start on.
        rustix::io::ioctl_fionbio(&self.0, true)?;
        self.0.accept().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{OFlags, fcntl_getfl};
    use std::net::TcpStream as Client;
    use std::sync::mpsc;
    use std::time::Duration;
    use tokio::time::timeout;

    /// Has a runtime of one thread serve a listener and its copy, as another process has it, and takes what comes of it.
    fn within_a_runtime<T: Send + 'static>(
        serve: impl AsyncFnOnce(Listener, std::net::TcpListener) -> T + Send + 'static,
    ) -> T {
        let (done, ended) = mpsc::channel();
        // Not waited for: one that stands still would never end.
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let came = runtime.block_on(async {
                let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
                let other = socket.try_clone().expect("the same socket");
                serve(Listener::new(socket).expect("a listener"), other).await
            });
            done.send(came).expect("the test waits");
        });
        ended.recv_timeout(Duration::from_secs(20)).expect("the runtime goes on")
    }

    #[test]
    fn a_socket_made_blocking_stops_no_runtime() {
        within_a_runtime(async |listener, other| {
            let address = other.local_addr().expect("an address");
            for blocking in [false, true, false] {
                let mut accepted = Box::pin(listener.accept());
                assert!(timeout(Duration::from_millis(20), &mut accepted).await.is_err());
                assert!(fcntl_getfl(&other).expect("flags").contains(OFlags::NONBLOCK));
                other.set_nonblocking(!blocking).expect("set");
                let _client = Client::connect(address).expect("a connection");
                accepted.await.expect("a connection");
                other.set_nonblocking(!blocking).expect("set");
            }
        });
    }

    #[test]
    fn a_connection_that_another_process_took_is_not_waited_for() {
        let accepted = within_a_runtime(async |_listener, other| {
            other.set_nonblocking(false).expect("set");
            other.accept().map_err(|error| error.kind())
        });
        assert_eq!(accepted.expect_err("nobody connects"), io::ErrorKind::WouldBlock);
    }
}
