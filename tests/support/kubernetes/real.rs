//! Kubernetes' own API server on a real etcd, if it is built (`packaging/setup kube-apiserver`).
#![allow(dead_code, unreachable_pub)]

use crate::kubernetes::{cases, object};
use crate::support::etcd::Etcd;
use crate::support::{Process, eventually, free_port, run};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The token of an administrator, and that of a user without any right.
pub const ADMIN: &str = "admin-token";
pub const NOBODY: &str = "nobody-token";

/// An API server with its etcd.
pub struct Cluster {
    pub etcd: Etcd,
    program: PathBuf,
    process: Option<Process>,
    pub dir: tempfile::TempDir,
    port: u16,
    args: Vec<String>,
}

/// The program; `None`, with a word on that, if it is not built.
fn program() -> Option<PathBuf> {
    let pinned = include_str!("../../kubernetes/apiserver/go.mod");
    let line = pinned.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
    let program = cache.join("skydns/kube-apiserver").join(line?);
    if program.exists() {
        return Some(program);
    }
    println!("left out: {} is not built (packaging/setup kube-apiserver, which needs Go)", program.display());
    None
}

impl Cluster {
    /// A cluster whose administrator may do everything; `None` if there is no API server.
    pub fn start(args: &[&str]) -> Option<Self> {
        let program = program()?;
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name).display().to_string();
        run(Command::new("openssl").args(["genrsa", "-out", &at("sa.key"), "2048"]));
        run(Command::new("openssl").args(["rsa", "-in", &at("sa.key"), "-pubout", "-out", &at("sa.pub")]));
        let users = format!("{ADMIN},admin,1,\"system:masters\"\n{NOBODY},nobody,2,\"nobodies\"\n");
        std::fs::write(dir.path().join("tokens.csv"), users).expect("a file");
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut cluster = Self { etcd: Etcd::start(), program, process: None, dir, port: free_port(), args };
        cluster.start_api();
        Some(cluster)
    }

    /// Starts the API server.
    pub fn start_api(&mut self) {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let mut command = Command::new(&self.program);
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd.client_port))
            .args(["--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112", "--bind-address=127.0.0.1"])
            .args([
                "--service-account-issuer=https://kubernetes.default.svc",
                "--advertise-address=192.0.2.1",
            ])
            .arg(format!("--service-account-key-file={}", at("sa.pub")))
            .arg(format!("--service-account-signing-key-file={}", at("sa.key")))
            .args(["--disable-admission-plugins=ServiceAccount", &format!("--cert-dir={}", at("certs"))])
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--token-auth-file={}", at("tokens.csv")))
            .args(&self.args);
        let log = std::fs::File::create(self.dir.path().join("apiserver.log")).expect("a file");
        command.stdout(Stdio::null()).stderr(log);
        self.process = Some(Process::spawn(&mut command));
        eventually("the API server is ready", || self.ask("GET", "/readyz", None).0 == 200);
    }

    /// Ends the API server at once.
    pub fn kill_api(&mut self) {
        self.process = None;
    }

    /// The URL of the API server.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// A kubeconfig of somebody who has a token.
    pub fn kubeconfig(&self, token: &str) -> String {
        // The log names the file, and may not name the token.
        let user = token.trim_end_matches("-token");
        let file = self.dir.path().join(format!("kubeconfig-{}", &user[..user.len().min(16)]));
        let text = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: \
             {{server: '{}', certificate-authority: certs/apiserver.crt}}}}]\nusers: [{{name: u, user: {{token: {token}}}}}]\n",
            self.url()
        );
        std::fs::write(&file, text).expect("a file");
        file.display().to_string()
    }

    /// Asks the API server for something; returns the status and the answer.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut command = Command::new("curl");
        command.args([
            "-sk",
            "-m",
            "10",
            "-X",
            method,
            "-w",
            "\n%{http_code}",
            "-H",
            &format!("Authorization: Bearer {ADMIN}"),
        ]);
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        command.args(["-H", &format!("Content-Type: {kind}"), &format!("{}{path}", self.url())]);
        if let Some(body) = body {
            command.args(["-d", &body.to_string()]);
        }
        let output = command.output().expect("curl");
        let text = String::from_utf8_lossy(&output.stdout);
        let (body, status) = text.rsplit_once('\n').expect("a status");
        (status.parse().expect("a status"), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Creates an object from its YAML, or only asks whether that is possible; returns the status and the answer. Fields that
    /// the server does not know are errors.
    pub fn create_yaml(&self, yaml: &str, is_dry_run: bool) -> (u16, String) {
        let field = |name: &str| yaml.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
        let path = match field("kind:").expect("a kind") {
            "ServiceAccount" => "/api/v1/namespaces/kube-system/serviceaccounts".to_owned(),
            "Secret" => "/api/v1/namespaces/kube-system/secrets".to_owned(),
            "DaemonSet" => "/apis/apps/v1/namespaces/kube-system/daemonsets".to_owned(),
            kind => format!("/apis/rbac.authorization.k8s.io/v1/{}s", kind.to_lowercase()),
        };
        let dry_run = if is_dry_run { "&dryRun=All" } else { "" };
        let mut command = Command::new("curl");
        command.args(["-sk", "-m", "10", "-w", "\n%{http_code}", "-H", "Content-Type: application/yaml"]);
        command.args(["-H", &format!("Authorization: Bearer {ADMIN}"), "--data-binary", yaml]);
        command.arg(format!("{}{path}?fieldValidation=Strict{dry_run}", self.url()));
        let text = run(&mut command);
        let (answer, status) = text.rsplit_once('\n').expect("a status");
        (status.parse().expect("a status"), answer.to_owned())
    }

    /// Creates an object.
    pub fn create(&self, object: &Value) {
        let (status, answer) = self.ask("POST", &collection(object), Some(object));
        assert!(matches!(status, 200 | 201 | 409), "{object}: {status} {answer}");
        if object["kind"] == "Pod" {
            let status = json!({"status": object["status"]});
            let path = format!("{}/{}/status", collection(object), name(object));
            assert_eq!(self.ask("PATCH", &path, Some(&status)).0, 200, "{object}");
        }
    }

    /// Creates those objects of the cases that a real server takes.
    pub fn create_cases(&self) {
        for case in cases::objects() {
            // A service without a port has to be headless, its namespace has to exist, and imports are no part of Kubernetes.
            let is_strange =
                case.kind.starts_with("import") || case.namespace == "gone" || case.name == "bare";
            // The server makes these itself.
            let is_own = case.name == "kubernetes" || case.name == "default";
            if !is_strange && !is_own {
                self.create(&with_families(object(&case)));
            }
        }
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("a name")
}

fn collection(object: &Value) -> String {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    match object["kind"].as_str().expect("a kind") {
        "Namespace" => "/api/v1/namespaces".to_owned(),
        "EndpointSlice" => format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"),
        kind => format!("/api/v1/namespaces/{namespace}/{}s", kind.to_lowercase()),
    }
}

/// A service with the families of its addresses, which a real server wants to be told.
fn with_families(mut object: Value) -> Value {
    let Some(addresses) = object["spec"]["clusterIPs"].as_array().cloned() else { return object };
    let family = |address: &Value| {
        if address.as_str().is_some_and(|text| text.contains(':')) { "IPv6" } else { "IPv4" }
    };
    if addresses.iter().any(|address| address != "None") {
        object["spec"]["ipFamilies"] = addresses.iter().map(family).collect();
        let policy = if addresses.len() > 1 { "RequireDualStack" } else { "SingleStack" };
        object["spec"]["ipFamilyPolicy"] = json!(policy);
    }
    object
}
