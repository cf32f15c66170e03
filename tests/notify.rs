//! What the program tells systemd, heard by a socket in systemd's place.

mod support;

use hickory_proto::rr::RecordType;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};
use support::etcd::Etcd;
use support::{Agent, PATIENCE, Process, Setup, eventually, query};

/// The other end of `$NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, dir }
    }

    fn setup(&self) -> Setup {
        Setup::new()
            .variable("NOTIFY_SOCKET", self.dir.path().join("notify").to_str().expect("a path"))
            .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let len = self.socket.recv(&mut buffer).expect("a notification");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }

    /// The next notification that has a text in it.
    fn until(&self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let next = self.next();
            if next.contains(text) {
                return next;
            }
            assert!(Instant::now() < end, "never: {text}; {next}");
        }
    }

    /// Whether the watchdog is told anything within a time.
    fn pings_within(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.socket.set_read_timeout(Some(left)).expect("a timeout");
            let mut buffer = [0; 4096];
            if let Ok(len) = self.socket.recv(&mut buffer)
                && buffer[..len].starts_with(b"WATCHDOG=1")
            {
                self.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                return true;
            }
        }
        self.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        false
    }
}

#[test]
fn ready_comes_with_the_state_and_stopping_at_the_end() {
    let manager = Manager::new();
    let mut agent = manager.setup().start();
    let ready = manager.until("READY=1");
    assert!(ready.contains("STATUS=1 name; files in sync; no upstream"), "{ready}");
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    agent.write("local/skydns/b", r#"{"host":"10.0.0.2"}"#);
    manager.until("STATUS=2 names");
    agent.process.signal("-TERM");
    manager.until("STOPPING=1");
    assert_eq!(agent.process.wait().code(), Some(0));
}

#[test]
fn a_page_that_is_missing_is_told_for_as_long_as_it_is_missing() {
    let manager = Manager::new();
    let file = manager.dir.path().join("page");
    std::fs::write(&file, "mine").expect("a file");
    let path = file.to_str().expect("a path");
    let agent = manager.setup().variable("PROMETHEUS_ADDR", path).start();
    let told = format!("refused: variable PROMETHEUS_ADDR: \"{path}\": there is a file of this name already");
    assert!(manager.until("READY=1").contains(&told), "{}", agent.log());
    manager.until(&format!(
        "no metrics page: {path}: there is a file of this name already, and it is no socket"
    ));
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "mine");
    std::fs::remove_file(&file).expect("removed");
    eventually("the page is made", || agent.log().contains("metrics at /metrics on "));
    let end = Instant::now() + PATIENCE;
    while manager.until("STATUS=").contains("no metrics page") {
        assert!(Instant::now() < end, "it is told for ever");
    }

    let nowhere =
        manager.setup().variable("PROMETHEUS_ADDR", "192.0.2.1").variable("PROMETHEUS_PORT", "9153");
    let _agent = nowhere.start();
    manager.until("no metrics page: 192.0.2.1:9153: Cannot assign requested address");
}

fn reload(manager: &Manager, agent: &Agent) -> String {
    agent.process.signal("-HUP");
    let begun = manager.until("RELOADING=1");
    let time = begun.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(time.is_some_and(|time| time.parse::<u64>().is_ok()), "{begun}");
    manager.until("READY=1")
}

#[test]
fn a_reload_reads_the_variables_again_and_a_bad_one_costs_itself() {
    let manager = Manager::new();
    let file = manager.dir.path().join("skydns");
    let write = |text: &str| std::fs::write(&file, text).expect("a file");
    write("# comment\nSKYDNS_DOMAIN=one.example\nSKYDNS_TTL=600\n");
    // systemd gives the variables of the file at the start.
    let agent = manager
        .setup()
        .record("/skydns/example/one/x", r#"{"host":"10.0.0.1"}"#)
        .record("/skydns/example/two/x", r#"{"host":"10.0.0.2"}"#)
        .variable("SKYDNS_DOMAIN", "one.example")
        .variable("SKYDNS_TTL", "600")
        .args(&["-env-file", file.to_str().expect("a path")])
        .start();
    manager.until("READY=1");
    let ttl = |name: &str| agent.ask(name, RecordType::A).answers.first().map(|record| record.ttl);
    assert_eq!(ttl("x.one.example."), Some(600));

    write("SKYDNS_DOMAIN=two.example\n");
    let ready = reload(&manager, &agent);
    assert!(!ready.contains("failed"), "{ready}");
    assert_eq!(ttl("x.two.example."), Some(3600), "what is not in the file any more is the default again");
    assert_eq!(ttl("x.one.example."), None);

    // What cannot be used costs itself: everything else of the file is taken.
    for (text, line, told) in [
        ("SKYDNS_TTL=many", 2, "SKYDNS_TTL: \"many\" is not a whole number; the default is used"),
        ("SKYDNS_LOCAL={x}.y", 2, "SKYDNS_LOCAL: \"{x}\" is neither {hostname} nor {machine_id}"),
        ("SKYDNS_TLT=7", 2, "SKYDNS_TLT: no setting has this name; SKYDNS_TTL is the nearest one"),
        ("export", 2, "the line has no \"=\": it has to be NAME=value"),
        ("PROMETHEUS_PORT=x", 2, "PROMETHEUS_PORT: \"x\" is not a port"),
    ] {
        write(&format!("SKYDNS_DOMAIN=two.example\n{text}\nSKYDNS_MIN_TTL=7\n"));
        let ready = reload(&manager, &agent);
        let told = format!("STATUS=refused: {}:{line}: {told}", file.display());
        assert!(ready.contains(&told), "{told}\n{ready}");
        eventually("it is logged", || agent.log().contains("reloaded, but 1 setting is refused"));
        assert_eq!(ttl("x.two.example."), Some(3600));
        let denied = agent.ask("none.two.example.", RecordType::A);
        assert_eq!(denied.authorities.first().map(|record| record.ttl), Some(7), "{text}");
    }
    // A value that was good before stays.
    write("SKYDNS_DOMAIN=two.example\nSKYDNS_TTL=60\n");
    assert!(!reload(&manager, &agent).contains("refused"));
    write("SKYDNS_DOMAIN=two.example\nSKYDNS_TTL=many\n");
    assert!(reload(&manager, &agent).contains("60, the last good value, stays"));
    assert_eq!(ttl("x.two.example."), Some(60));
    // With SKYDNS_STRICT nothing changes.
    write("SKYDNS_DOMAIN=one.example\nSKYDNS_TTL=many\nSKYDNS_STRICT=true\n");
    let ready = reload(&manager, &agent);
    assert!(ready.contains("reload failed at 20"), "{ready}");
    assert_eq!(ttl("x.two.example."), Some(60));
    write("SKYDNS_DOMAIN=one.example\n");
    let ready = reload(&manager, &agent);
    assert!(!ready.contains("failed") && !ready.contains("refused"), "{ready}");
    assert_eq!(ttl("x.one.example."), Some(3600));
}

#[test]
fn the_reload_command_waits_and_tells_what_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let conf_dir = dir.path().join("conf.d");
    std::fs::create_dir(&conf_dir).expect("a directory");
    let file = conf_dir.join("10-site.conf");
    std::fs::write(&file, "SKYDNS_TTL=600\n").expect("a file");
    let run_dir = dir.path().to_str().expect("a path");
    let agent = Setup::new()
        .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
        .variable("RUNTIME_DIRECTORY", run_dir)
        .args(&["-conf-dir", conf_dir.to_str().expect("a path")])
        .start();
    let ttl = || agent.ask("a.skydns.local.", RecordType::A).answers[0].ttl;
    let reload_with = |run_dir: &str, pid: u32| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_skydns"));
        let output = command.env("RUNTIME_DIRECTORY", run_dir).args(["reload", &pid.to_string()]).output();
        let output = output.expect("an output");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let reload = |pid| reload_with(run_dir, pid);
    for round in 1..=5 {
        std::fs::write(&file, format!("SKYDNS_TTL={round}\n")).expect("a file");
        assert_eq!(reload(agent.process.id()), (Some(0), String::new()));
        assert_eq!(ttl(), round, "it is done when the command ends");
    }
    // A directory that is moved away takes no setting with it.
    let away = dir.path().join("away");
    std::fs::rename(&conf_dir, &away).expect("moved");
    let (code, text) = reload(agent.process.id());
    let told = format!("refused: {}: cannot be read: it does not exist, and -conf-dir", conf_dir.display());
    assert!(code == Some(78) && text.contains(&told), "{code:?} {text}");
    assert_eq!(ttl(), 5);
    std::fs::rename(&away, &conf_dir).expect("moved");
    assert_eq!(reload(agent.process.id()), (Some(0), String::new()));
    std::fs::write(&file, "\nSKYDNS_TTL=many\n").expect("a file");
    let (code, text) = reload(agent.process.id());
    let told = format!(
        "skydns: refused: {}:2: SKYDNS_TTL: \"many\" is not a whole number; 5, the last",
        file.display()
    );
    assert!(code == Some(78) && text.contains(&told), "{code:?} {text}");
    assert_eq!(ttl(), 5);
    // Files of the store are read before it ends, even one that looks half-written.
    std::fs::write(&file, "SKYDNS_TTL=5\n").expect("a file");
    agent.write("config", "{");
    let (code, text) = reload(agent.process.id());
    assert!(
        code == Some(78) && text.contains("/skydns/config: the value is not a JSON object"),
        "{code:?} {text}"
    );
    agent.write("config", "{}");
    assert_eq!(reload(agent.process.id()), (Some(0), String::new()));
    // Without the agent's report it reloads all the same; another program does not end by it.
    std::fs::write(&file, "SKYDNS_TTL=9\n").expect("a file");
    let elsewhere = conf_dir.to_str().expect("a path");
    let (code, text) = reload_with(elsewhere, agent.process.id());
    assert!(code == Some(69) && text.contains("what comes of it is not known"), "{code:?} {text}");
    eventually("the settings are read", || ttl() == 9);
    let mut other = Process::spawn(std::process::Command::new("sleep").arg("60"));
    let (code, text) = reload_with(elsewhere, other.id());
    assert!(code == Some(69) && text.contains("is no agent that has started"), "{code:?} {text}");
    assert!(other.is_running());
    let (code, text) = reload(u32::MAX / 2);
    assert!(code == Some(71) && text.contains("process 2147483647"), "{code:?} {text}");
}

#[test]
fn a_directory_of_records_that_is_back_is_refused_no_more() {
    let manager = Manager::new();
    let agent = manager.setup().start();
    manager.until("READY=1");
    let (records, away) = (agent.records(), agent.records().with_file_name("away"));
    std::fs::rename(&records, &away).expect("moved");
    let ready = reload(&manager, &agent);
    let told = format!("flag -records: the directory {} cannot be read: No such file", records.display());
    assert!(ready.contains(&format!("STATUS=refused: {told}")), "{ready}");
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"], "the names of before stay");
    std::fs::rename(&away, &records).expect("moved");
    eventually("it ends by itself", || agent.log().contains(&format!("not refused any more: {told}")));
    let status = manager.until("STATUS=1 name; files in sync");
    assert!(!status.contains("refused"), "{status}");
}

#[test]
fn a_reload_changes_the_sources_once_the_new_ones_are_read() {
    let manager = Manager::new();
    let (one, mut two) = (Etcd::start(), Etcd::start());
    for (etcd, address) in [(&one, "10.0.1.1"), (&two, "10.0.2.1")] {
        etcd.put("/skydns/local/skydns/x", &format!("{{\"host\":\"{address}\"}}"));
    }
    let file = manager.dir.path().join("skydns");
    let write = |machines: &str| {
        std::fs::write(&file, format!("ETCD_MACHINES={machines}\n")).expect("a file");
    };
    write(&one.endpoint());
    let notify = manager.dir.path().join("notify");
    let agent = Setup::new()
        .variable("NOTIFY_SOCKET", notify.to_str().expect("a path"))
        .args(&["-env-file", file.to_str().expect("a path")])
        .start();
    let ready = manager.until("READY=1");
    assert!(ready.contains("etcd in sync at revision 2"), "{ready}");
    assert_eq!(agent.data("x.skydns.local.", RecordType::A), ["10.0.1.1"]);

    write(&two.endpoint());
    two.kill();
    let ready = reload(&manager, &agent);
    let told = format!(
        "refused: {}:1: ETCD_MACHINES: the new sources cannot be read, those in use stay: etcd: ",
        file.display()
    );
    assert!(ready.contains(&told), "{ready}");
    // What a refused setting says is not said twice.
    std::fs::write(
        &file,
        format!("ETCD_MACHINES={}\nETCD_CACERT=/none.pem\n", two.endpoint().replace("http:", "https:")),
    )
    .expect("a file");
    let ready = reload(&manager, &agent);
    let told = format!("refused: {}:2: ETCD_CACERT: /none.pem: cannot be read", file.display());
    assert!(ready.contains(&told) && ready.contains("; the sources in use stay"), "{ready}");
    assert!(
        agent.log().contains("reloaded, but 1 setting is refused") && !agent.log().contains("2 settings")
    );
    assert_eq!(agent.data("x.skydns.local.", RecordType::A), ["10.0.1.1"]);
    one.put("/skydns/local/skydns/x", r#"{"host":"10.0.1.2"}"#);
    eventually("the old source goes on", || agent.data("x.skydns.local.", RecordType::A) == ["10.0.1.2"]);

    write(&two.endpoint());
    two.run();
    let ready = reload(&manager, &agent);
    assert!(!ready.contains("failed"), "{ready}");
    assert_eq!(agent.data("x.skydns.local.", RecordType::A), ["10.0.2.1"]);
    two.put("/skydns/local/skydns/x", r#"{"host":"10.0.2.2"}"#);
    eventually("the new source is followed", || agent.data("x.skydns.local.", RecordType::A) == ["10.0.2.2"]);
    one.put("/skydns/local/skydns/x", r#"{"host":"10.0.1.3"}"#);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(agent.data("x.skydns.local.", RecordType::A), ["10.0.2.2"], "the old source is not");
    assert!(!agent.log().contains("ended by a fault"), "{}", agent.log());
}

/// The threads of a process by name.
fn threads(pid: u32, name: &str) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("tasks");
    let tasks = tasks.map(|task| task.expect("a task").path());
    tasks
        .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
        .filter_map(|task| task.file_name()?.to_str()?.parse().ok().map(Pid::from_raw))
        .collect()
}

#[test]
fn the_watchdog_is_fed_only_while_everything_moves() {
    let manager = Manager::new();
    let agent = manager.setup().variable("WATCHDOG_USEC", "3000000").start();
    manager.until("READY=1");
    assert!(manager.pings_within(PATIENCE) && manager.pings_within(PATIENCE));
    for (thread, told) in [("udp-0", "UDP worker 0 of 127.0.0.1:"), ("mirror", "the mirror")] {
        let id = threads(agent.process.id(), thread)[0];
        ptrace::seize(id, ptrace::Options::empty()).expect("seized");
        ptrace::interrupt(id).expect("interrupted");
        waitpid(id, Some(WaitPidFlag::__WALL)).expect("stopped");
        // On a busy machine another part may be late as well.
        let status = manager.until(told);
        assert!(status.contains("STATUS=no progress for 0.6 s: "), "{thread}: {status}");
        assert!(!manager.pings_within(Duration::from_secs(3)), "{thread}");
        // The other worker answers meanwhile.
        let reply = support::ask(agent.address(), &query("a.skydns.local.", RecordType::A));
        assert_eq!(reply.answers.len(), 1);
        ptrace::detach(id, None).expect("detached");
        assert!(manager.pings_within(PATIENCE), "{thread}: it moves again");
    }
}
