//! Validators that judge the agent's signatures: unbound, delv, drill, hickory, dnsviz.

use super::{PATIENCE, Process, ask, eventually, free_port, query, run};
use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::RecordType;
use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use time::OffsetDateTime;

/// The zone that is judged.
pub const ZONE: &str = "skydns.local";

/// The key pairs of a zone, in a directory of their own.
pub struct KeyRing {
    pub dir: tempfile::TempDir,
    begun: OffsetDateTime,
}

impl KeyRing {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), begun: OffsetDateTime::now_utc() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A key by dnssec-keygen, with arguments of its own; gives the base name.
    pub fn bind(&self, algorithm: &str, args: &[&str]) -> PathBuf {
        let mut command = Command::new("dnssec-keygen");
        let args = args.iter().map(|arg| self.time(arg));
        command.args(["-q", "-a", algorithm, "-K"]).arg(self.path()).args(args).arg(ZONE);
        self.path().join(run(&mut command).trim())
    }

    /// An argument; one like `+5`, in seconds, counts from the same moment for all keys, however long each takes to make.
    fn time(&self, arg: &str) -> String {
        let Some(seconds) = arg.strip_prefix('+').and_then(|seconds| seconds.parse().ok()) else {
            return arg.to_owned();
        };
        let at = self.begun + time::Duration::seconds(seconds);
        let (date, time) = (at.date(), at.time());
        let (hour, minute, second) = time.as_hms();
        let month = u8::from(date.month());
        format!("{:04}{month:02}{:02}{hour:02}{minute:02}{second:02}", date.year(), date.day())
    }

    /// A key by ldns-keygen.
    pub fn ldns(&self, algorithm: &str, args: &[&str]) -> PathBuf {
        let mut command = Command::new("ldns-keygen");
        command.args(["-a", algorithm]).args(args).arg(ZONE).current_dir(self.path());
        self.path().join(run(&mut command).trim())
    }

    /// A key by our own program.
    pub fn own(&self, args: &[&str]) -> PathBuf {
        self.own_for(ZONE, args)
    }

    /// The same for another zone.
    pub fn own_for(&self, zone: &str, args: &[&str]) -> PathBuf {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skydns"));
        command.arg("keygen").args(args).arg("-K").arg(self.path()).arg(zone);
        self.path().join(run(&mut command).trim())
    }
}

/// The DS records of keys with SHA-256, as our own program prints them.
pub fn ds(keys: &[&Path]) -> String {
    let text = run(Command::new(env!("CARGO_BIN_EXE_skydns")).arg("ds").args(keys));
    let lines: Vec<_> = text.lines().filter(|line| line.contains(" IN DS ")).collect();
    lines.join("\n") + "\n"
}

/// unbound, which asks the agent and believes nothing that it cannot validate.
pub struct Unbound {
    process: Process,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Unbound {
    /// One that takes the DS records as trust anchors, and asks the agent for the zone; `options` are lines of its server
    /// section.
    pub fn start(server: SocketAddr, anchors: &str, options: &str) -> Self {
        Self::start_for(&[ZONE], server, anchors, options)
    }

    /// The same for other zones.
    pub fn start_for(zones: &[&str], server: SocketAddr, anchors: &str, options: &str) -> Self {
        let (ip, port) = (server.ip(), server.port());
        let stub = |zone: &&str| format!("stub-zone:\n  name: {zone}\n  stub-addr: {ip}@{port}");
        Self::start_with(anchors, options, &zones.iter().map(stub).collect::<Vec<_>>().join("\n"))
    }

    /// The same, but it forwards all its questions to the agent.
    pub fn forwarding(server: SocketAddr, anchors: &str, options: &str) -> Self {
        let (ip, port) = (server.ip(), server.port());
        Self::start_with(
            anchors,
            options,
            &format!("forward-zone:\n  name: \".\"\n  forward-addr: {ip}@{port}"),
        )
    }

    fn start_with(anchors: &str, options: &str, servers: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let anchors = file("anchors", anchors);
        let text = format!(
            "server:
  interface: 127.0.0.1@{port}
  do-daemonize: no
  chroot: \"\"
  username: \"\"
  directory: \"{}\"
  pidfile: \"\"
  use-syslog: no
  val-log-level: 2
  do-not-query-localhost: no
  trust-anchor-file: \"{anchors}\"
  trust-anchor-signaling: no
  harden-dnssec-stripped: yes
  harden-below-nxdomain: yes
  harden-referral-path: yes
  harden-algo-downgrade: yes
  harden-glue: yes
  qname-minimisation: no
  num-threads: 1
  {options}
{servers}
remote-control:
  control-enable: no
",
            dir.path().display()
        );
        let configuration = file("conf", &text);
        let log = File::create(dir.path().join("log")).expect("a file");
        let mut command = Command::new("unbound");
        let process = Process::spawn(command.args(["-c", &configuration]).stderr(log).stdout(Stdio::null()));
        let mut unbound = Self { process, address: ([127, 0, 0, 1], port).into(), dir };
        eventually("unbound is there", || {
            assert!(unbound.process.is_running(), "unbound ended: {}", unbound.log());
            unbound.log().contains("start of service")
        });
        unbound
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Its answer; AD says that it validated.
    pub fn ask(&self, name: &str, rtype: RecordType) -> Message {
        ask(self.address, &dnssec_query(name, rtype))
    }

    /// Its answer, which has to be a validated one.
    pub fn believes(&self, name: &str, rtype: RecordType) -> Message {
        self.judges(name, rtype).unwrap_or_else(|doubt| panic!("{doubt}"))
    }

    /// Its answer if it is a validated one, or all that is known about it.
    pub fn judges(&self, name: &str, rtype: RecordType) -> Result<Message, String> {
        let answer = self.ask(name, rtype);
        let rcode = answer.metadata.response_code;
        if answer.metadata.authentic_data && matches!(rcode, ResponseCode::NoError | ResponseCode::NXDomain) {
            return Ok(answer);
        }
        Err(format!("{name} {rtype}: {rcode}\n{answer}\n{}", self.log()))
    }
}

/// A question with DO.
pub fn dnssec_query(name: &str, rtype: RecordType) -> Message {
    let mut message = query(name, rtype);
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true).set_max_payload(4096);
    message.set_edns(edns);
    message
}

/// What delv says of a question: its first line that is no echo of our own.
pub fn delv(server: SocketAddr, anchors: &str, name: &str, rtype: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("anchors");
    let mut text = "trust-anchors {\n".to_owned();
    for line in anchors.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        text +=
            &format!("\"{}\" static-ds {} {} {} \"{}\";\n", words[0], words[3], words[4], words[5], words[6]);
    }
    fs::write(&file, text + "};\n").expect("a file");
    let output = Command::new("delv")
        .args([&format!("@{}", server.ip()), "-p", &server.port().to_string(), "-a"])
        .arg(&file)
        .args([&format!("+root={ZONE}"), name, rtype])
        .stdin(Stdio::null())
        .output()
        .expect("delv");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What `drill -S` says of a question, with the file of a key that it trusts.
pub fn drill(server: SocketAddr, key: &Path, name: &str, rtype: &str) -> String {
    let file = format!("{}.key", key.display());
    let output = Command::new("drill")
        .args([
            "-S",
            "-k",
            &file,
            "-p",
            &server.port().to_string(),
            &format!("@{}", server.ip()),
            name,
            rtype,
        ])
        .stdin(Stdio::null())
        .output()
        .expect("drill");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What dnsviz prints of names and types that it probed the server for, with the file of a key that it trusts: a line for
/// each RRset, signature and proof, led by `[.]` if it is secure.
pub fn dnsviz(server: SocketAddr, key: &Path, names: &[String], types: &str) -> String {
    dnsviz_of(&[ZONE], server, key, names, types)
}

/// The same for other zones; the first one is above the others.
pub fn dnsviz_of(zones: &[&str], server: SocketAddr, key: &Path, names: &[String], types: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let probe = dir.path().join("probe");
    let anchor = dir.path().join("anchor");
    let text = fs::read_to_string(format!("{}.key", key.display())).expect("a key");
    let records: Vec<_> = text.lines().filter(|line| !line.starts_with(';')).collect();
    fs::write(&anchor, records.join("\n") + "\n").expect("a file");
    // It waits for ever where it lacks an answer.
    let dnsviz = || {
        let mut command = Command::new("timeout");
        command.args(["120", "dnsviz"]);
        command
    };
    let servers = |zone: &&str| format!("{zone}+:a.ns.dns.{zone}={}:{}", server.ip(), server.port());
    let mut command = dnsviz();
    command.args(["probe", "-4", "-A", "-a", zones[0], "-R", types]);
    for servers in zones.iter().map(servers) {
        command.args(["-x", &servers]);
    }
    run(command.arg("-o").arg(&probe).args(names));
    run(dnsviz().args(["print", "-r"]).arg(&probe).arg("-t").arg(&anchor))
}

/// What hickory's validator says of each question, with all keys of the directory for trust anchors.
///
/// It asks over TCP. A crate of its own holds it, which is built when it is first needed.
pub fn hickory(server: SocketAddr, keys: &Path, questions: &[(String, RecordType)]) -> Vec<String> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let program = BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("validator");
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/validator/Cargo.toml");
        let mut command = Command::new(env!("CARGO"));
        run(command.args(["build", "--locked", "--manifest-path", manifest, "--target-dir"]).arg(&target));
        target.join("debug/validator")
    });
    let dir = tempfile::tempdir().expect("a directory");
    let anchors = dir.path().join("anchors");
    let files = fs::read_dir(keys).expect("keys").map(|entry| entry.expect("an entry").path());
    let public = files.filter(|path| path.extension().is_some_and(|extension| extension == "key"));
    let text: String = public.map(|path| fs::read_to_string(path).expect("a key")).collect();
    // Comments are no part of what it reads.
    let text: Vec<_> = text.lines().filter(|line| !line.starts_with(';')).collect();
    fs::write(&anchors, text.join("\n") + "\n").expect("a file");
    let asked: String =
        questions.iter().map(|(name, rtype)| format!("{name} {}\n", u16::from(*rtype))).collect();
    let mut command = Command::new(program);
    let command = command.arg(server.to_string()).arg(&anchors).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::inherit()).spawn().expect("the validator");
    let mut stdin = child.stdin.take().expect("its input");
    let writer = std::thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let output = child.wait_with_output().expect("its output");
    writer.join().expect("its questions").expect("its questions");
    let said: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(said.len(), questions.len(), "the validator ended early");
    said
}

/// A UDP proxy before the agent that may change replies.
pub struct Tamper {
    pub address: SocketAddr,
    on: Arc<AtomicBool>,
}

impl Tamper {
    /// Changes replies with `change` whenever it is on; its thread ends with the test.
    pub fn start(server: SocketAddr, change: impl Fn(&mut [u8]) + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("an address");
        let on = Arc::new(AtomicBool::new(false));
        let is_on = Arc::clone(&on);
        std::thread::spawn(move || {
            let mut packet = vec![0; 65_535];
            while let Ok((len, peer)) = socket.recv_from(&mut packet) {
                let Some(mut reply) = super::exchange(server, &packet[..len], PATIENCE) else { continue };
                if is_on.load(Ordering::SeqCst) {
                    change(&mut reply);
                }
                let _ = socket.send_to(&reply, peer);
            }
        });
        Self { address, on }
    }

    pub fn turn_on(&self) {
        self.on.store(true, Ordering::SeqCst);
    }
}
