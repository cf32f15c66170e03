//! A real etcd on free loopback ports.

use super::{PATIENCE, Process, eventually, free_port};
use etcd_client::{Client, ConnectOptions, PutOptions, Txn, TxnOp};
use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The program of the servers: in tests of another etcd that one, if it can be built here, else that of the system.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let version = match env!("CARGO_CRATE_NAME") {
            "etcd_3_6" | "kubernetes_apiserver" => Some("v3.6.14"),
            "etcd_v2_3_5" => Some("v3.5.30"),
            _ => None,
        };
        version.and_then(super::go_etcd::build).unwrap_or_else(|| PathBuf::from("etcd"))
    })
}

/// Whether the servers are of a later etcd than the system's.
pub fn is_built() -> bool {
    program() != Path::new("etcd")
}

/// An etcd server, or one member of a cluster.
pub struct Etcd {
    pub process: Option<Process>,
    pub client_port: u16,
    pub peer_port: u16,
    pub dir: tempfile::TempDir,
    name: String,
    host: &'static str,
    scheme: &'static str,
    extra: Vec<String>,
    runtime: Runtime,
}

impl Etcd {
    /// A server of its own.
    pub fn start() -> Self {
        Self::start_with("http", &[])
    }

    /// A server at the port that agents look for without being told.
    pub fn start_at_home() -> Self {
        Self::start_at(2379, &[])
    }

    /// A server at a port.
    pub fn start_at(port: u16, extra: &[&str]) -> Self {
        let mut etcd = Self::prepare("default", "http");
        etcd.client_port = port;
        let cluster = format!("default=http://127.0.0.1:{}", etcd.peer_port);
        etcd.extra =
            ["--initial-cluster", &cluster].iter().chain(extra).map(|arg| (*arg).to_owned()).collect();
        etcd.run();
        etcd
    }

    pub fn start_with(scheme: &'static str, extra: &[&str]) -> Self {
        let mut etcd = Self::prepare("default", scheme);
        let cluster = format!("default=http://127.0.0.1:{}", etcd.peer_port);
        etcd.extra =
            ["--initial-cluster", &cluster].iter().chain(extra).map(|arg| (*arg).to_owned()).collect();
        etcd.run();
        etcd
    }

    /// A cluster of so many members.
    pub fn cluster(size: usize) -> Vec<Self> {
        Self::members("127.0.0.1", size, &[])
    }

    /// The same with more arguments for each.
    pub fn cluster_with(size: usize, extra: &[&str]) -> Vec<Self> {
        Self::members("127.0.0.1", size, extra)
    }

    /// A cluster of so many members at another address than loopback, with more arguments for each.
    pub fn cluster_at(host: &'static str, size: usize, extra: &[&str]) -> Vec<Self> {
        Self::members(host, size, extra)
    }

    /// The same for the next start: with one more argument, or without it.
    pub fn set_argument(&mut self, argument: &str, is_given: bool) {
        self.extra.retain(|arg| arg != argument);
        if is_given {
            self.extra.push(argument.to_owned());
        }
    }

    fn members(host: &'static str, size: usize, extra: &[&str]) -> Vec<Self> {
        let mut members: Vec<_> =
            (0..size).map(|n| Self { host, ..Self::prepare(&format!("m{n}"), "http") }).collect();
        let urls: Vec<_> =
            members.iter().map(|m| format!("{}=http://{host}:{}", m.name, m.peer_port)).collect();
        for member in &mut members {
            member.extra = vec!["--initial-cluster".to_owned(), urls.join(",")];
            member.extra.extend(extra.iter().map(|arg| (*arg).to_owned()));
            member.launch();
        }
        members.iter().for_each(Self::wait);
        members
    }

    fn prepare(name: &str, scheme: &'static str) -> Self {
        Self {
            process: None,
            client_port: free_port(),
            peer_port: free_port(),
            dir: tempfile::tempdir().expect("a directory"),
            name: name.to_owned(),
            host: "127.0.0.1",
            scheme,
            extra: Vec::new(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
        }
    }

    /// Starts the server, again if it ran before, with the data it had.
    pub fn run(&mut self) {
        self.launch();
        self.wait();
    }

    /// Starts the server, and does not wait for it.
    pub fn launch(&mut self) {
        let log =
            File::options().create(true).append(true).open(self.dir.path().join("log")).expect("a file");
        let client = self.endpoint();
        let peer = format!("http://{}:{}", self.host, self.peer_port);
        let mut command = Command::new(program());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .args(["--name", &self.name, "--log-level", "error", "--logger", "zap"])
            .arg("--data-dir")
            .arg(self.dir.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(&self.extra)
            .stdout(Stdio::null())
            .stderr(log);
        self.process = Some(Process::spawn(&mut command));
    }

    /// Starts the server with one more argument, or without it.
    pub fn run_with(&mut self, argument: &str, is_given: bool) {
        self.set_argument(argument, is_given);
        self.run();
    }

    /// Waits until the server answers.
    pub fn wait(&self) {
        if self.scheme == "https" {
            eventually("etcd listens", || TcpStream::connect(("127.0.0.1", self.client_port)).is_ok());
            return;
        }
        eventually("etcd answers", || {
            self.runtime.block_on(async {
                let client = Client::connect([self.endpoint()], None).await;
                match client {
                    Ok(mut client) => {
                        tokio::time::timeout(PATIENCE, client.get("x", None)).await.is_ok_and(|r| r.is_ok())
                    }
                    Err(_) => false,
                }
            })
        });
    }

    /// The address that clients connect to.
    pub fn client_address(&self) -> (&'static str, u16) {
        (self.host, self.client_port)
    }

    pub fn endpoint(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.client_port)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Does something with a client.
    pub fn with<T>(&self, work: impl AsyncFnOnce(&mut Client) -> T) -> T {
        self.with_options(None, work)
    }

    pub fn with_options<T>(
        &self,
        options: Option<ConnectOptions>,
        work: impl AsyncFnOnce(&mut Client) -> T,
    ) -> T {
        self.runtime.block_on(async {
            let mut client = Client::connect([self.endpoint()], options).await.expect("a client");
            work(&mut client).await
        })
    }

    pub fn put(&self, key: &str, value: &str) {
        self.put_all([(key, value)]);
    }

    pub fn put_all<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.with(async |client| {
            for (key, value) in pairs {
                client.put(key, value, None).await.expect("put");
            }
        });
    }

    /// Puts many keys, a hundred at once.
    pub fn put_many(&self, pairs: &[(String, String)]) {
        self.with(async |client| {
            for chunk in pairs.chunks(100) {
                let put = |(key, value): &(String, String)| TxnOp::put(key.as_str(), value.as_str(), None);
                let puts: Vec<_> = chunk.iter().map(put).collect();
                client.txn(Txn::new().and_then(puts)).await.expect("put");
            }
        });
    }

    /// Puts a key on a lease of so many seconds; gives the lease's id.
    pub fn put_with_lease(&self, key: &str, value: &str, seconds: i64) -> i64 {
        self.with(async |client| {
            let lease = client.lease_grant(seconds, None).await.expect("a lease").id();
            client.put(key, value, Some(PutOptions::new().with_lease(lease))).await.expect("put");
            lease
        })
    }

    pub fn delete(&self, key: &str) {
        self.with(async |client| client.delete(key, None).await.expect("deleted"));
    }

    /// The same as [`put`](Self::put) for a store that may have no leader right now; whether it was done.
    pub fn try_put(&self, key: &str, value: &str) -> bool {
        self.try_put_with(ConnectOptions::new(), key, value)
    }

    pub fn try_put_with(&self, options: ConnectOptions, key: &str, value: &str) -> bool {
        self.runtime.block_on(async {
            let put = async {
                Client::connect([self.endpoint()], Some(options)).await.ok()?.put(key, value, None).await.ok()
            };
            tokio::time::timeout(Duration::from_secs(2), put).await.is_ok_and(|done| done.is_some())
        })
    }

    /// Forgets the history up to now.
    pub fn compact(&self) {
        self.with(async |client| {
            let answer = client.get("x", None).await.expect("an answer");
            let revision = answer.header().expect("a header").revision();
            client.compact(revision, None).await.expect("compacted");
        });
    }

    /// The ids of this member and of the leader.
    pub fn status(&self) -> (u64, u64) {
        self.with(async |client| {
            let status = client.status().await.expect("a status");
            (status.header().expect("a header").member_id(), status.leader())
        })
    }

    /// Takes a member out of the cluster. etcd refuses that until all have been connected for some seconds.
    pub fn remove_member(&self, id: u64) {
        eventually("the member is removed", || {
            self.with(async |client| client.member_remove(id).await.is_ok())
        });
    }

    /// Keeps the data of a server that does not run, for [`restore`](Self::restore).
    pub fn back_up(&self) {
        self.copy("data", "backup");
    }

    /// Brings back the data that were kept.
    pub fn restore(&self) {
        std::fs::remove_dir_all(self.dir.path().join("data")).expect("removed");
        self.copy("backup", "data");
    }

    fn copy(&self, from: &str, to: &str) {
        let at = |name: &str| self.dir.path().join(name);
        super::run(Command::new("cp").arg("-a").arg(at(from)).arg(at(to)));
    }

    /// Kills the server as a power cut would.
    pub fn kill(&mut self) {
        self.process = None;
    }
}
