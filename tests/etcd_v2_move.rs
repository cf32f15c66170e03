//! A site that moves from etcd's v2 API to v3, with questions all the while: none may fail or get a wrong answer.

mod support;

use etcd_client::{Client, PutOptions};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use support::etcd::Etcd;
use support::v2::V2;
use support::{Agent, PATIENCE, Process, Setup, eventually, exchange, query};

const NAMES: u8 = 9;

/// Seconds of the registrations that end.
const TTL: u32 = 8;

fn key(n: u8) -> String {
    format!("/skydns/local/skydns/services/n{n}")
}

fn value(n: u8) -> String {
    format!("{{\"host\":\"10.1.0.{n}\",\"port\":80}}")
}

/// One service: it registers itself, at first with v2, again and again.
struct Writer {
    in_v3: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// A third of them never end; of the others one half renews by a put, and one half by a refresh.
    fn start(etcd: &Etcd, n: u8, is_over: Arc<AtomicBool>) -> Self {
        let (v2, endpoint) = (V2::of(etcd), etcd.endpoint());
        let in_v3 = Arc::new(AtomicBool::new(false));
        let is_moved = Arc::clone(&in_v3);
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let mut is_there = false;
            while !is_over.load(Ordering::SeqCst) && !is_moved.load(Ordering::SeqCst) {
                match n % 3 {
                    0 if is_there => {}
                    0 => v2.put(&key(n), &value(n)),
                    2 if is_there => v2.refresh(&key(n), TTL),
                    _ => v2.put_ttl(&key(n), &value(n), TTL),
                }
                is_there = true;
                thread::sleep(Duration::from_millis(900));
            }
            if is_over.load(Ordering::SeqCst) {
                return;
            }
            // First to v3, then away from v2, as a writer that is restarted with other settings.
            let lease = runtime.block_on(register(&endpoint, n)).expect("registered");
            v2.delete(&key(n));
            while !is_over.load(Ordering::SeqCst) {
                // The store may be away for a moment.
                let _ = runtime.block_on(renew(&endpoint, lease));
                thread::sleep(Duration::from_millis(900));
            }
        });
        Self { in_v3, thread }
    }
}

async fn register(endpoint: &str, n: u8) -> Result<i64, etcd_client::Error> {
    let mut client = Client::connect([endpoint], None).await?;
    if n.is_multiple_of(3) {
        client.put(key(n), value(n), None).await?;
        return Ok(0);
    }
    let lease = client.lease_grant(i64::from(TTL), None).await?.id();
    client.put(key(n), value(n), Some(PutOptions::new().with_lease(lease))).await?;
    Ok(lease)
}

async fn renew(endpoint: &str, lease: i64) -> Result<(), etcd_client::Error> {
    if lease != 0 {
        let mut client = Client::connect([endpoint], None).await?;
        let (mut keeper, mut answers) = client.lease_keep_alive(lease).await?;
        keeper.keep_alive().await?;
        answers.message().await?;
    }
    Ok(())
}

/// Asks one agent for all names, again and again.
struct Prober {
    asked: Arc<AtomicU64>,
    wrong: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl Prober {
    fn start(server: SocketAddr, is_over: Arc<AtomicBool>) -> Self {
        let (asked, wrong) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (count, notes) = (Arc::clone(&asked), Arc::clone(&wrong));
        let thread = thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                for n in 0..NAMES {
                    let name = format!("n{n}.services.skydns.local.");
                    let packet = query(&name, RecordType::A).to_vec().expect("a query");
                    count.fetch_add(1, Ordering::SeqCst);
                    let reply = exchange(server, &packet, PATIENCE);
                    let reply = reply.and_then(|reply| Message::from_vec(&reply).ok());
                    if let Some(fault) = fault(n, reply) {
                        notes.lock().expect("notes").push(format!("{server}: {name} {fault}"));
                    }
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        Self { asked, wrong, thread }
    }
}

/// What is wrong with an answer.
fn fault(n: u8, reply: Option<Message>) -> Option<String> {
    let Some(reply) = reply else { return Some("no reply".to_owned()) };
    if reply.metadata.response_code != ResponseCode::NoError {
        return Some(reply.metadata.response_code.to_string());
    }
    let is_right = |data: &RData| *data == RData::A(Ipv4Addr::new(10, 1, 0, n).into());
    let is_all = reply.answers.len() == 1 && reply.answers.iter().all(|record| is_right(&record.data));
    (!is_all).then(|| format!("{:?}", reply.answers))
}

fn migrate(etcd: &Etcd, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skydns"));
    command.args([
        "migrate",
        "-from",
        "v2",
        "-to",
        "v3",
        "-machines",
        &etcd.endpoint(),
        "-env-file",
        "/dev/null",
    ]);
    command.args(args);
    command
}

fn agent(etcd: &Etcd, dir: &Path) -> Agent {
    let (file, state) = (dir.join("variables"), dir.join("state"));
    std::fs::create_dir_all(&state).expect("a directory");
    std::fs::write(&file, "SKYDNS_ETCD_API=both\n").expect("a file");
    let path = |path: &Path| path.to_str().expect("a path").to_owned();
    Setup::new()
        .args(&["-machines", &etcd.endpoint(), "-env-file", &path(&file), "-state-dir", &path(&state)])
        .start()
}

#[test]
fn a_site_moves_without_a_dark_moment() {
    let mut etcd = Etcd::start_with("http", &["--enable-v2"]);
    let (is_over, is_asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let writers: Vec<_> = (0..NAMES).map(|n| Writer::start(&etcd, n, Arc::clone(&is_over))).collect();
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("a directory")).collect();
    let agents: Vec<_> = dirs.iter().map(|dir| agent(&etcd, dir.path())).collect();
    let names = |agent: &Agent| {
        (0..NAMES).all(|n| !agent.data(&format!("n{n}.services.skydns.local."), RecordType::A).is_empty())
    };
    eventually("all are registered", || agents.iter().all(names));
    let probers: Vec<_> =
        agents.iter().map(|agent| Prober::start(agent.address(), Arc::clone(&is_asked))).collect();
    thread::sleep(Duration::from_secs(3));
    // Somebody carries what is there, while the writers still renew in v2.
    let mut follower =
        Process::spawn(migrate(&etcd, &["-follow"]).stdout(Stdio::null()).stderr(Stdio::null()));
    let copies = || {
        etcd.with(async |client| {
            let options = etcd_client::GetOptions::new().with_prefix().with_count_only();
            client.get("/skydns/local", Some(options)).await.expect("a count").count()
        })
    };
    eventually("all are carried", || copies() == i64::from(NAMES));
    let verify = |expected: i32| {
        let done = migrate(&etcd, &["-verify"]).output().expect("it runs");
        let told = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(done.status.code(), Some(expected), "{told}");
        told
    };
    eventually("no difference", || migrate(&etcd, &["-verify"]).output().expect("it runs").status.success());
    thread::sleep(Duration::from_secs(u64::from(TTL) + 2));
    // The writers go to v3, one by one.
    for writer in &writers {
        writer.in_v3.store(true, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(700));
    }
    thread::sleep(Duration::from_secs(u64::from(TTL)));
    assert!(verify(0).contains("0 names of v2 compared: 0 differences"));
    // One made by hand.
    let hand = V2::of(&etcd);
    follower.signal("-TERM");
    assert_eq!(follower.wait().code(), Some(0));
    hand.put("/skydns/local/skydns/by-hand", &value(99));
    assert!(verify(1).contains("by-hand.skydns.local. A: "));
    hand.delete("/skydns/local/skydns/by-hand");
    // v2 is read no more, and then it is gone.
    for (dir, agent) in dirs.iter().zip(&agents) {
        std::fs::write(dir.path().join("variables"), "SKYDNS_ETCD_API=v3\n").expect("a file");
        agent.process.signal("-HUP");
        thread::sleep(Duration::from_millis(300));
    }
    thread::sleep(Duration::from_secs(2));
    etcd.kill();
    etcd.run_with("--enable-v2", false);
    thread::sleep(Duration::from_secs(u64::from(TTL) + 4));
    is_asked.store(true, Ordering::SeqCst);
    let (mut asked, mut wrong) = (0, Vec::new());
    for prober in probers {
        prober.thread.join().expect("a prober");
        asked += prober.asked.load(Ordering::SeqCst);
        wrong.extend(prober.wrong.lock().expect("notes").drain(..));
    }
    is_over.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.thread.join().expect("a writer");
    }
    println!("{asked} answers, {} of them wrong", wrong.len());
    assert!(asked > 3_000, "{asked}");
    assert!(wrong.is_empty(), "{} of {asked}: {:?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    eventually("in sync", || {
        agents.iter().all(|agent| support::error_code(agent.address(), "n1.services.skydns.local.").is_none())
    });
}
