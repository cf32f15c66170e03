//! Real servers for the tests: the agent, etcd, scripted upstreams, all on free loopback ports.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::missing_panics_doc,
    reason = "each test uses a part of it"
)]

pub mod boot;
pub mod certificates;
pub mod cgroup;
pub mod cutter;
pub mod etcd;
pub mod go_etcd;
pub mod judge;
pub mod load;
pub mod network;
pub mod plain_host;
pub mod plain_upstream;
pub mod proxy;
pub mod raw;
pub mod signed_root;
pub mod upstream;
pub mod v2;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RecordType};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest that anything is waited for: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A loopback port that is free for UDP and TCP, and that no other call gives.
///
/// It is below the range that the system takes for outgoing connections.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let base = std::process::id().wrapping_mul(1_009);
    for _ in 0..20_000 {
        let number = base.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let port = 10_000 + u16::try_from(number).expect("a small number");
        let free =
            TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if free {
            return port;
        }
    }
    panic!("no free port");
}

/// Waits until something holds, and fails if it never does.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process that ends with its handle.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self { child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")) }
    }

    /// A process that sockets are passed to as systemd does, two of them. What it logs is seen with the test's own output.
    pub fn spawn_with_sockets(command: &Command, [first, second]: [OwnedFd; 2]) -> Self {
        let script = "exec 3<&0 4>&1 </dev/null >/dev/null; LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\" \"$@\"";
        let mut passing = Command::new("sh");
        passing.args(["-c", script]).arg(command.get_program()).args(command.get_args()).env_clear();
        passing.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        passing.stdin(first).stdout(second);
        Self { child: passing.spawn().expect("a process") }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.id().to_string()]).status();
        assert!(status.expect("kill").success(), "kill {signal}");
    }

    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(Instant::now() < end, "process {} never ends", self.id());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it printed, where that was piped.
    pub fn output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program under test.
pub struct Agent {
    pub process: Process,
    pub port: u16,
    pub dir: tempfile::TempDir,
}

/// How an agent is to be started.
#[derive(Clone, Default)]
pub struct Setup {
    args: Vec<String>,
    variables: Vec<(String, String)>,
    files: Vec<(String, String)>,
    port: Option<u16>,
    no_address: bool,
    open_files: Option<u32>,
}

impl Setup {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file in the records directory, which is used if there is one.
    pub fn record(mut self, path: &str, value: &str) -> Self {
        self.files.push((path.trim_start_matches("/skydns/").to_owned(), value.to_owned()));
        self
    }

    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// How many files it may have open.
    pub fn open_files(mut self, most: u32) -> Self {
        self.open_files = Some(most);
        self
    }

    /// Leaves `-addr` to the test.
    pub fn without_address(mut self) -> Self {
        self.no_address = true;
        self
    }

    /// The command, the port it will listen on, and the directory of its files.
    pub fn command(&self) -> (Command, u16, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a directory");
        let port = self.port.unwrap_or_else(free_port);
        let program = env!("CARGO_BIN_EXE_skydns");
        let mut command = Command::new(if self.open_files.is_some() { "sh" } else { program });
        if let Some(most) = self.open_files {
            command.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\""), program]);
        }
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let resolv_conf = dir.path().join("resolv.conf");
        std::fs::write(&resolv_conf, "").expect("a file");
        command.arg("-resolv-conf").arg(resolv_conf);
        if !self.no_address {
            command.args(["-addr", &format!("127.0.0.1:{port}")]);
        }
        if !self.files.is_empty() {
            let records = dir.path().join("records");
            std::fs::create_dir(&records).expect("a directory");
            for (path, value) in &self.files {
                write_record(&records, path, value);
            }
            command.arg("-records").arg(records);
        }
        command.args(&self.args).envs(self.variables.iter().cloned());
        (command, port, dir)
    }

    /// Starts the agent and waits until it answers.
    pub fn start(self) -> Agent {
        let (mut command, port, dir) = self.command();
        let log = File::create(dir.path().join("log")).expect("a file");
        let process = Process::spawn(command.stderr(log).stdout(Stdio::null()));
        let mut agent = Agent { process, port, dir };
        eventually("the agent is ready", || {
            assert!(agent.process.is_running(), "the agent ended:\n{}", agent.log());
            agent.log().contains("upstreams: ")
        });
        agent
    }
}

fn write_record(records: &std::path::Path, path: &str, value: &str) {
    let file = records.join(path);
    std::fs::create_dir_all(file.parent().expect("a parent")).expect("directories");
    std::fs::write(file, value).expect("a file");
}

impl Agent {
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn records(&self) -> PathBuf {
        self.dir.path().join("records")
    }

    pub fn write(&self, path: &str, value: &str) {
        write_record(&self.records(), path, value);
    }

    pub fn set_resolv_conf(&self, text: &str) {
        std::fs::write(self.dir.path().join("resolv.conf"), text).expect("a file");
    }

    pub fn remove_resolv_conf(&self) {
        std::fs::remove_file(self.dir.path().join("resolv.conf")).expect("removed");
    }

    pub fn ask(&self, name: &str, rtype: RecordType) -> Message {
        ask(self.address(), &query(name, rtype))
    }

    /// The data of the answer section, sorted.
    pub fn data(&self, name: &str, rtype: RecordType) -> Vec<String> {
        let mut data: Vec<_> = self.ask(name, rtype).answers.iter().map(|r| r.data.to_string()).collect();
        data.sort();
        data
    }

    /// What `dig` prints for some arguments, without its own comments.
    pub fn dig(&self, args: &[&str]) -> String {
        let port = self.port.to_string();
        run(Command::new("dig").args(["@127.0.0.1", "-p", &port, "+tries=1", "+time=5"]).args(args))
    }

    /// The lines of `dig +short`, sorted.
    pub fn short(&self, args: &[&str]) -> Vec<String> {
        let text = self.dig(&[&["+short"], args].concat());
        let mut lines: Vec<_> =
            text.lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// The standard output of a command that has to succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A question without EDNS.
pub fn query(name: &str, rtype: RecordType) -> Message {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), rtype));
    message
}

/// The reply over UDP.
pub fn ask(server: SocketAddr, message: &Message) -> Message {
    let reply = exchange(server, &message.to_vec().expect("a message"), PATIENCE).expect("a reply");
    let reply = Message::from_vec(&reply).expect("a reply that can be read");
    assert_eq!(reply.metadata.id, message.metadata.id);
    reply
}

/// The INFO-CODE of a reply's extended error (RFC 8914).
pub fn error_code(server: SocketAddr, name: &str) -> Option<u16> {
    error_of(&ask_with_edns(server, name))
}

/// The reply to a question for A with EDNS.
pub fn ask_with_edns(server: SocketAddr, name: &str) -> Message {
    let mut question = query(name, RecordType::A);
    question.set_edns(hickory_proto::op::Edns::new());
    ask(server, &question)
}

/// The code of the first extended error of a reply (RFC 8914).
pub fn error_of(reply: &Message) -> Option<u16> {
    match reply.edns.as_ref()?.option(EdnsCode::Unknown(15))? {
        EdnsOption::Unknown(_, data) => Some(u16::from_be_bytes([data[0], data[1]])),
        _ => None,
    }
}

/// What comes back for a packet over UDP, if anything.
pub fn exchange(server: SocketAddr, packet: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let local = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local).expect("a socket");
    socket.connect(server).expect("connected");
    socket.set_read_timeout(Some(patience)).expect("a timeout");
    socket.send(packet).expect("sent");
    let mut buffer = vec![0; 65_535];
    let len = socket.recv(&mut buffer).ok()?;
    buffer.truncate(len);
    Some(buffer)
}

/// A TCP connection that speaks DNS.
pub struct Stream(pub TcpStream);

impl Stream {
    pub fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(stream)
    }

    /// A connection from another address of this host, as another client has one.
    pub fn connect_from(client: Ipv4Addr, server: SocketAddr) -> Self {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
        use std::os::fd::AsRawFd;
        let fd =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        let from = SockaddrStorage::from(SocketAddr::from((client, 0)));
        bind(fd.as_raw_fd(), &from).expect("an address of this host");
        connect(fd.as_raw_fd(), &SockaddrStorage::from(server)).expect("connected");
        let stream = TcpStream::from(fd);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(stream)
    }

    pub fn send(&mut self, message: &Message) {
        let packet = message.to_vec().expect("a message");
        let len = u16::try_from(packet.len()).expect("a length").to_be_bytes();
        self.0.write_all(&[&len, packet.as_slice()].concat()).expect("sent");
    }

    pub fn receive(&mut self) -> Option<Message> {
        let mut len = [0; 2];
        self.0.read_exact(&mut len).ok()?;
        let mut packet = vec![0; usize::from(u16::from_be_bytes(len))];
        self.0.read_exact(&mut packet).ok()?;
        Some(Message::from_vec(&packet).expect("a reply that can be read"))
    }

    /// Sends octets as a message, and gives those of the reply; nothing if none comes.
    pub fn exchange(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let len = u16::try_from(packet.len()).ok()?.to_be_bytes();
        self.0.write_all(&[&len, packet].concat()).ok()?;
        let mut len = [0; 2];
        self.0.read_exact(&mut len).ok()?;
        let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
        self.0.read_exact(&mut reply).ok()?;
        Some(reply)
    }

    pub fn ask(&mut self, message: &Message) -> Message {
        self.send(message);
        self.receive().expect("a reply")
    }
}
