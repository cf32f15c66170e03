//! A store with logins, certificates and a quota, all of which may run out: one server, since members of a cluster have no
//! part in that.

use super::prober::{Prober, Question, Truth};
use super::support::etcd::Etcd;
use super::support::{Agent, Setup, eventually, run};
use super::{Row, TURN, conclude, lasts};
use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Certificate, Client, ConnectOptions, DeleteOptions, Identity,
    TlsOptions,
};
use hickory_proto::rr::RecordType;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Names that never change.
const FIXED: u8 = 100;

/// The most that the store may hold, in octets.
const QUOTA: usize = 16 << 20;

/// A store that wants a certificate, and a password once authentication is on.
struct Store {
    etcd: Etcd,
    /// Certificates, keys, and the agent's variables.
    dir: tempfile::TempDir,
    password: Option<&'static str>,
}

struct Site {
    store: Store,
    agent: Agent,
    prober: Prober,
    rows: Vec<Row>,
}

fn openssl(dir: &Path, args: &str) {
    run(Command::new("openssl").args(args.split(' ')).current_dir(dir));
}

/// A certificate that is good for so many days; none makes one that has expired.
fn certify(dir: &Path, name: &str, days: i32) {
    let usage = if name == "server" { "serverAuth,clientAuth" } else { "clientAuth" };
    let extensions = format!("subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\n");
    std::fs::write(dir.join("ext"), extensions).expect("a file");
    openssl(dir, &format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    openssl(
        dir,
        &format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile ext -out {name}.new"
        ),
    );
    // Whole, whenever somebody reads it.
    std::fs::rename(dir.join(format!("{name}.new")), dir.join(format!("{name}.pem"))).expect("renamed");
}

fn questions() -> Vec<Question> {
    let mut questions = Vec::new();
    for n in 0..FIXED {
        let (name, truth) = (format!("f{n}.skydns.local"), Truth::Ends(1, vec![10, 0, 0, n]));
        questions.push(Question { name, rtype: 1, truth, edns: n % 8 == 1, own: true });
        let name = format!("none{n}.skydns.local");
        questions.push(Question { name, rtype: 1, truth: Truth::Absent, edns: false, own: true });
    }
    let name = "c0.skydns.local".to_owned();
    questions.push(Question { name, rtype: 1, truth: Truth::Number(0), edns: false, own: true });
    questions
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        openssl(
            dir.path(),
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
        );
        certify(dir.path(), "server", 2);
        certify(dir.path(), "client", 2);
        certify(dir.path(), "own", 2);
        openssl(dir.path(), "genrsa -out jwt.key 2048");
        openssl(dir.path(), "rsa -in jwt.key -pubout -out jwt.pub");
        let at = |name: &str| dir.path().join(name).display().to_string();
        let token =
            format!("jwt,pub-key={},priv-key={},sign-method=RS256,ttl=2s", at("jwt.pub"), at("jwt.key"));
        let (quota, cert, key, ca) = (QUOTA.to_string(), at("server.pem"), at("server.key"), at("ca.pem"));
        let mut args = vec!["--auth-token", &token, "--quota-backend-bytes", &quota, "--client-cert-auth"];
        args.extend(["--cert-file", &cert, "--key-file", &key, "--trusted-ca-file", &ca]);
        let etcd = Etcd::start_with("https", &args);
        let store = Self { etcd, dir, password: None };
        store.variables("first");
        eventually("the store is up", || store.try_put("/skydns/local/skydns/c0", r#"{"host":"10.1.0.0"}"#));
        store.refill();
        store
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the agent's variables.
    fn variables(&self, password: &str) {
        let text = format!("ETCD_USERNAME=root\nETCD_PASSWORD={password}\n");
        std::fs::write(self.path("variables"), text).expect("a file");
    }

    fn options(&self) -> ConnectOptions {
        let pem = |name: &str| std::fs::read(self.path(name)).expect("a file");
        // Its own, which no fault befalls.
        let identity = Identity::from_pem(pem("own.pem"), pem("own.key"));
        let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(pem("ca.pem"))).identity(identity);
        let options = ConnectOptions::new().with_tls(tls);
        match self.password {
            Some(password) => options.with_user("root", password),
            None => options,
        }
    }

    fn with<T>(&self, work: impl AsyncFnOnce(&mut Client) -> T) -> T {
        self.etcd.with_options(Some(self.options()), work)
    }

    fn try_put(&self, key: &str, value: &str) -> bool {
        self.etcd.try_put_with(self.options(), key, value)
    }

    fn refill(&self) {
        self.with(async |client| {
            for n in 0..FIXED {
                let (key, value) =
                    (format!("/skydns/local/skydns/f{n}"), format!(r#"{{"host":"10.0.0.{n}"}}"#));
                client.put(key, value, None).await.expect("put");
            }
        });
    }

    /// Starts the server anew: what was open before is gone.
    fn restart(&mut self) {
        self.etcd.kill();
        self.etcd.run();
    }
}

impl Site {
    fn new() -> Self {
        let store = Store::new();
        let at = |name: &str| store.path(name).display().to_string();
        // Hosts know the password before the store asks for one.
        let agent = Setup::new()
            .args(&["-machines", &store.etcd.endpoint(), "-env-file", &at("variables")])
            .variable("ETCD_CACERT", &at("ca.pem"))
            .variable("ETCD_TLSPEM", &at("client.pem"))
            .variable("ETCD_TLSKEY", &at("client.key"))
            .start();
        eventually("in sync", || agent.log().contains("etcd: in sync"));
        let prober = Prober::start(agent.address(), questions(), 1);
        Self { store, agent, prober, rows: Vec::new() }
    }

    /// Writes the next number, whenever the store takes it, and waits until the agent has it.
    fn in_sync(&self) -> Duration {
        let changing = self.prober.changing(0);
        let number = changing.written.load(Relaxed) + 1;
        changing.written.store(number, Relaxed);
        let address = format!("10.1.{}.{}", number >> 8, number & 255);
        let value = format!(r#"{{"host":"{address}"}}"#);
        eventually("written", || self.store.try_put("/skydns/local/skydns/c0", &value));
        let begun = Instant::now();
        let shown = || self.agent.data("c0.skydns.local.", RecordType::A);
        eventually("in sync again", || shown() == [address.as_str()]);
        begun.elapsed()
    }

    /// Lets a fault last, mends it, and judges. `lost` is whether the agent loses the store meanwhile.
    fn fault(
        &mut self,
        fault: &'static str,
        lost: bool,
        begin: impl FnOnce(&mut Self),
        mend: impl FnOnce(&mut Self),
    ) {
        let begun = Instant::now();
        begin(self);
        std::thread::sleep(lasts());
        mend(self);
        let lasted = begun.elapsed();
        let in_sync = self.in_sync();
        let outcome = self.prober.outcome();
        println!("{fault}: {} wrong, {} failed", outcome.wrong, outcome.failed);
        assert_eq!(lost, outcome.stale > 0, "{fault}: {outcome:?}\n{}", self.agent.log());
        self.rows.push(Row { fault, lasted, outcome, in_sync });
    }

    /// Has the agent read its variables again.
    fn reload(&self) {
        self.agent.process.signal("-HUP");
    }

    fn logins(&mut self) {
        self.fault(
            "authentication switched on",
            false,
            |site| {
                site.store.with(async |client| {
                    client.user_add("root", "first", None).await.expect("a user");
                    client.user_grant_role("root", "root").await.expect("a role");
                    client.auth_enable().await.expect("authentication");
                });
                site.store.password = Some("first");
            },
            |_| {},
        );
        self.fault("tokens end, store started again", true, |_| {}, |site| site.store.restart());
        self.fault(
            "password changed",
            true,
            |site| {
                let change = async |client: &mut Client| {
                    client.user_change_password("root", "second").await.expect("changed");
                };
                site.store.with(change);
                site.store.password = Some("second");
                // Or the watch that is open goes on.
                site.store.restart();
            },
            |site| {
                site.store.variables("second");
                site.reload();
            },
        );
        self.fault(
            "authentication switched off",
            false,
            |site| {
                site.store.with(async |client| client.auth_disable().await.expect("no authentication"));
                site.store.password = None;
            },
            |_| {},
        );
    }

    fn certificates(&mut self) {
        for (fault, whose) in
            [("the server's certificate expires", "server"), ("the agent's certificate expires", "client")]
        {
            self.fault(
                fault,
                true,
                |site| {
                    certify(site.store.dir.path(), whose, -1);
                    site.store.etcd.kill();
                    site.store.etcd.launch();
                },
                // Both read it again for each connection.
                |site| certify(site.store.dir.path(), whose, 2),
            );
        }
    }

    fn space(&mut self) {
        self.fault(
            "out of space",
            false,
            |site| {
                let large = vec![b'x'; 1 << 20];
                let full = site.store.with(async |client| {
                    for n in 0..40 {
                        if client.put(format!("/other/{}", n % 2), large.as_slice(), None).await.is_err() {
                            return true;
                        }
                    }
                    false
                });
                assert!(full, "the quota counts");
                assert!(!site.store.try_put("/skydns/local/skydns/c0", "{}"), "nothing more can be written");
            },
            |site| {
                site.store.with(async |client| {
                    let answer = client.get("x", None).await.expect("an answer");
                    let revision = answer.header().expect("a header").revision();
                    client.compact(revision, None).await.expect("compacted");
                    client.defragment().await.expect("defragmented");
                    let member = client
                        .status()
                        .await
                        .expect("a status")
                        .header()
                        .map(etcd_client::ResponseHeader::member_id);
                    let mut one = AlarmOptions::new();
                    one.with_member(member.expect("a member"));
                    let off = client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(one));
                    off.await.expect("no alarm");
                });
            },
        );
    }

    /// A store that is suddenly empty is what it is.
    fn emptied(&mut self) {
        let gone = |site: &Self| site.agent.data("f1.skydns.local.", RecordType::A).is_empty();
        self.fault(
            "emptied and filled again",
            false,
            |site| {
                site.prober.may_miss(true);
                site.store.with(async |client| {
                    let all = DeleteOptions::new().with_prefix();
                    client.delete("/skydns/local/skydns/f", Some(all)).await.expect("deleted");
                });
                eventually("it shows", || gone(site));
            },
            |site| {
                site.store.refill();
                let last = format!("f{}.skydns.local.", FIXED - 1);
                eventually("all is there again", || !site.agent.data(&last, RecordType::A).is_empty());
                site.prober.may_miss(false);
            },
        );
    }
}

#[test]
fn what_runs_out_takes_no_answer_with_it() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut site = Site::new();
    site.prober.outcome();
    site.logins();
    site.certificates();
    site.space();
    site.emptied();
    site.prober.finish();
    conclude(&site.rows, &site.agent.log());
}
