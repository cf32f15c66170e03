//! An API server with the faults that real ones have: it lists and watches as `docs` of Kubernetes' API concepts say.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// How long a watch waits for events before it looks whether it has to end.
const WATCH_POLL: Duration = Duration::from_millis(20);

/// What goes wrong. What is not set goes right.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The status of all answers to requests whose path has a text, with a header Retry-After.
    pub status: Option<(u16, &'static str, Option<u32>)>,
    /// The token that a request needs.
    pub token: Option<String>,
    /// Whether watches send nothing more, and stay open.
    pub stalls: bool,
    /// What a list sent as a watch ends with: `500` as an event, as an etcd without progress notifications has it, or `422` as
    /// the status of the answer.
    pub no_stream: Option<u16>,
    /// Whether a version that is forgotten is told by the status of the answer, not by an event.
    pub gone_as_status: bool,
    /// How many lists are empty, though there are objects.
    pub empty_lists: usize,
    /// Objects of a page at most, whether a page is asked for or not.
    pub page: Option<usize>,
    /// Octets of a piece of an answer; all at once if 0.
    pub piece: usize,
    /// Whether the server ends each new connection at once.
    pub refuses: bool,
}

/// A server that listens at an address of its own.
pub struct ApiServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    version: u64,
    /// The oldest version that a watch can go on from.
    oldest: u64,
    uid: String,
    objects: BTreeMap<(String, String, String), Value>,
    events: Vec<(u64, String, &'static str, Value)>,
    faults: Faults,
    requests: Vec<String>,
    connections: Vec<TcpStream>,
    is_closed: bool,
}

impl ApiServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        *shared.lock() = State { version: 100, uid: "cluster-1".to_owned(), ..State::default() };
        let server = Self { address, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                if shared.lock().is_closed {
                    return;
                }
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        server
    }

    /// A server with all objects of the cases.
    pub fn with_cases() -> Self {
        let server = Self::start();
        for case in super::cases::objects() {
            server.put(&super::object(&case));
        }
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts an object, in the place of one with the same name.
    pub fn put(&self, object: &Value) {
        self.change(object, true);
    }

    /// Deletes an object.
    pub fn delete(&self, object: &Value) {
        self.change(object, false);
    }

    fn change(&self, object: &Value, is_there: bool) {
        let mut state = self.shared.lock();
        state.version += 1;
        let version = state.version;
        let resource = resource_of(object["kind"].as_str().expect("a kind"));
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let id =
            (resource.to_owned(), text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
        let before = match is_there {
            true => state.objects.insert(id, object.clone()),
            false => state.objects.remove(&id),
        };
        let kind = match (is_there, before.is_some()) {
            (true, false) => "ADDED",
            (true, true) => "MODIFIED",
            (false, _) => "DELETED",
        };
        state.events.push((version, resource.to_owned(), kind, object));
        self.shared.changed.notify_all();
    }

    /// Sets what goes wrong from now on.
    pub fn set(&self, faults: Faults) {
        self.shared.lock().faults = faults;
        self.shared.changed.notify_all();
    }

    /// Forgets all events up to now.
    pub fn compact(&self) {
        let mut state = self.shared.lock();
        state.oldest = state.version;
    }

    /// Becomes another cluster, with the objects of this one, or goes back to an earlier version.
    pub fn become_other(&self, uid: &str, version: u64) {
        let mut state = self.shared.lock();
        (state.uid, state.version, state.oldest) = (uid.to_owned(), version, version);
        state.events.clear();
    }

    /// Ends all connections.
    pub fn cut(&self) {
        for connection in self.shared.lock().connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// The paths of requests since the last call.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().requests)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}

fn resource_of(kind: &str) -> &'static str {
    match kind {
        "Namespace" => "namespaces",
        "Service" => "services",
        "EndpointSlice" => "endpointslices",
        "Pod" => "pods",
        "ServiceImport" => "serviceimports",
        other => panic!("{other}"),
    }
}

/// The parameters of a query.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| {
        text.replace("%2F", "/")
            .replace("%20", " ")
            .replace("%2C", ",")
            .replace("%3D", "=")
            .replace("%21", "!")
    };
    let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.to_owned(), decoded(value)));
    query.split('&').filter_map(pair).collect()
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the state")
    }

    /// Answers one request.
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        {
            let mut state = self.lock();
            if state.faults.refuses || state.is_closed {
                return stream.shutdown(Shutdown::Both);
            }
            state.connections.push(stream.try_clone()?);
        }
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut token = None;
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("authorization")
            {
                token = value.trim().strip_prefix("Bearer ").map(str::to_owned);
            }
        }
        let faults = {
            let mut state = self.lock();
            state.requests.push(path.clone());
            state.faults.clone()
        };
        let mut reply = Reply { stream, piece: faults.piece };
        if faults.token.is_some() && faults.token != token {
            return reply.status(401, "Unauthorized", None);
        }
        if let Some((status, text, retry_after)) = faults.status
            && path.contains(text)
        {
            return reply.status(status, "forbidden or busy", retry_after);
        }
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        if path.ends_with("/kube-system") {
            let uid = self.lock().uid.clone();
            return reply
                .json(200, &json!({"kind": "Namespace", "metadata": {"name": "kube-system", "uid": uid}}));
        }
        let resource = path.rsplit('/').next().unwrap_or_default();
        let query = parameters(query);
        if query.contains_key("watch") {
            self.watch(&mut reply, resource, &query, &faults)
        } else {
            self.list(&mut reply, resource, &query)
        }
    }

    fn list(
        &self,
        reply: &mut Reply,
        resource: &str,
        query: &BTreeMap<String, String>,
    ) -> std::io::Result<()> {
        let list = {
            let mut state = self.lock();
            let asked = query.get("resourceVersion").and_then(|version| version.parse::<u64>().ok());
            if asked.is_some_and(|asked| asked > state.version) {
                drop(state);
                return reply.status(504, "Too large resource version", Some(1));
            }
            let is_empty = state.faults.empty_lists > 0;
            state.faults.empty_lists -= usize::from(is_empty);
            let all: Vec<_> = state.selected(resource, query).into_iter().filter(|_| !is_empty).collect();
            let from = query.get("continue").and_then(|from| from.parse().ok()).unwrap_or(0);
            let limit = query.get("limit").filter(|_| asked != Some(0)).and_then(|limit| limit.parse().ok());
            let most = limit.or(state.faults.page).unwrap_or(usize::MAX);
            let mut metadata = json!({"resourceVersion": state.version.to_string()});
            if all.len().saturating_sub(from) > most {
                metadata["continue"] = json!((from + most).to_string());
            }
            let items: Vec<_> = all.into_iter().skip(from).take(most).map(without_kind).collect();
            json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": if items.is_empty() { Value::Null } else { json!(items) }})
        };
        reply.json(200, &list)
    }

    fn watch(
        &self,
        reply: &mut Reply,
        resource: &str,
        query: &BTreeMap<String, String>,
        faults: &Faults,
    ) -> std::io::Result<()> {
        let streams = query.get("sendInitialEvents").is_some_and(|value| value == "true");
        let seconds = query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(300);
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut seen = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        if streams && faults.no_stream == Some(422) {
            return reply.status(422, "sendInitialEvents is forbidden", None);
        }
        let forgotten = !streams && seen != 0 && seen < self.lock().oldest;
        if forgotten && faults.gone_as_status {
            return reply.status(410, "Expired", None);
        }
        reply.begin(200)?;
        if streams && faults.no_stream == Some(500) {
            let message = "a watch stream was requested by the client but the required storage feature RequestWatchProgress is disabled";
            return reply.error(500, "InternalError", message);
        }
        if forgotten {
            return reply.error(410, "Expired", &format!("too old resource version: {seen}"));
        }
        if streams {
            let (objects, version) = {
                let mut state = self.lock();
                let is_empty = state.faults.empty_lists > 0;
                state.faults.empty_lists -= usize::from(is_empty);
                let all = state.selected(resource, query);
                (all.into_iter().filter(|_| !is_empty).collect::<Vec<_>>(), state.version)
            };
            for object in objects {
                reply.event("ADDED", &object)?;
            }
            reply.event(
                "BOOKMARK",
                &json!({"kind": "Service", "metadata": {"resourceVersion": version.to_string(),
                "annotations": {"k8s.io/initial-events-end": "true"}}, "endpoints": null}),
            )?;
            seen = version;
        }
        loop {
            let (events, bookmark) = {
                let state = self.lock();
                let waits = |state: &mut State| state.version <= seen || state.faults.stalls;
                let (state, _) = self
                    .changed
                    .wait_timeout_while(state, WATCH_POLL, |state| waits(state) && !state.is_closed)
                    .expect("the state");
                if state.is_closed || Instant::now() > end {
                    drop(state);
                    return reply.end();
                }
                if state.faults.stalls || state.version <= seen {
                    continue;
                }
                let news = state.events.iter().filter(|(version, of, ..)| *version > seen && of == resource);
                let news = news.filter(|(.., object)| is_selected(object, query));
                let events: Vec<_> = news.map(|(_, _, kind, object)| (*kind, object.clone())).collect();
                (events, state.version)
            };
            for (kind, object) in &events {
                reply.event(kind, object)?;
            }
            if events.is_empty() {
                reply.event("BOOKMARK", &json!({"metadata": {"resourceVersion": bookmark.to_string()}, "endpoints": null, "ports": null}))?;
            }
            seen = bookmark;
        }
    }
}

impl State {
    fn selected(&self, resource: &str, query: &BTreeMap<String, String>) -> Vec<Value> {
        let of_resource = self.objects.iter().filter(|((of, ..), _)| of == resource);
        of_resource.map(|(_, object)| object.clone()).filter(|object| is_selected(object, query)).collect()
    }
}

/// Whether a label selector selects an object: `label`, or `label=value`.
fn is_selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let Some(selector) = query.get("labelSelector") else { return true };
    let (label, value) =
        selector.split_once('=').map_or((&**selector, None), |(label, value)| (label, Some(value)));
    let own = object["metadata"]["labels"].get(label);
    own.is_some_and(|own| value.is_none_or(|value| own == value))
}

/// Items of a list have no kind and no version of the API.
fn without_kind(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    object
}

/// An answer in chunks.
struct Reply {
    stream: TcpStream,
    piece: usize,
}

impl Reply {
    fn begin(&mut self, status: u16) -> std::io::Result<()> {
        write!(
            self.stream,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        let size = if self.piece == 0 { text.len().max(1) } else { self.piece };
        for piece in text.as_bytes().chunks(size) {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(piece);
            chunk.extend_from_slice(b"\r\n");
            self.stream.write_all(&chunk)?;
        }
        Ok(())
    }

    fn end(&mut self) -> std::io::Result<()> {
        self.stream.write_all(b"0\r\n\r\n")
    }

    fn json(&mut self, status: u16, value: &Value) -> std::io::Result<()> {
        self.begin(status)?;
        self.write(&value.to_string())?;
        self.end()
    }

    fn event(&mut self, kind: &str, object: &Value) -> std::io::Result<()> {
        self.write(&format!("{}\n", json!({"type": kind, "object": object})))
    }

    fn error(&mut self, code: u16, reason: &str, message: &str) -> std::io::Result<()> {
        self.event("ERROR", &json!({"kind": "Status", "code": code, "reason": reason, "message": message}))?;
        self.end()
    }

    fn status(&mut self, code: u16, message: &str, retry_after: Option<u32>) -> std::io::Result<()> {
        let after = retry_after.map_or_else(String::new, |seconds| format!("Retry-After: {seconds}\r\n"));
        let body =
            json!({"kind": "Status", "status": "Failure", "code": code, "message": message}).to_string();
        write!(self.stream, "HTTP/1.1 {code} X\r\n{after}Content-Length: {}\r\n\r\n{body}", body.len())
    }
}
