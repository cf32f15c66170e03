//! etcd's v2 API, as writers of its time use it: HTTP with one connection that is kept.

use super::PATIENCE;
use super::etcd::Etcd;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;

const FORM: &str = "application/x-www-form-urlencoded";

/// A writer.
pub struct V2 {
    server: (&'static str, u16),
    login: Option<String>,
    connection: Mutex<Option<BufReader<TcpStream>>>,
}

impl V2 {
    pub fn of(etcd: &Etcd) -> Self {
        Self { server: etcd.client_address(), login: None, connection: Mutex::new(None) }
    }

    /// The same with a login, which is in base64.
    pub fn with_login(self, login: &str) -> Self {
        Self { login: Some(login.to_owned()), ..self }
    }

    /// A server that has the v2 API.
    pub fn server() -> (Etcd, Self) {
        let etcd = Etcd::start_with("http", &["--enable-v2"]);
        let v2 = Self::of(&etcd);
        (etcd, v2)
    }

    pub fn put(&self, key: &str, value: &str) {
        self.put_with(key, value, "");
    }

    /// The same for a store that may have no leader right now; whether it was done.
    pub fn try_put(&self, key: &str, value: &str) -> bool {
        let form = format!("value={}", encoded(value));
        let done = self.call("PUT", &format!("/v2/keys{key}"), FORM, &form);
        done.is_some_and(|(status, _)| (200..300).contains(&status))
    }

    /// Puts a key that ends after so many seconds.
    pub fn put_ttl(&self, key: &str, value: &str, seconds: u32) {
        self.put_with(key, value, &format!("&ttl={seconds}"));
    }

    /// Puts a key with more fields of the form, such as `&prevExist=true`.
    pub fn put_with(&self, key: &str, value: &str, fields: &str) {
        let (status, answer) = self.request("PUT", key, &format!("value={}{fields}", encoded(value)));
        assert!((200..300).contains(&status), "{key}: {status} {answer}");
    }

    /// Renews a key without anybody being told.
    pub fn refresh(&self, key: &str, seconds: u32) {
        let (status, answer) =
            self.request("PUT", key, &format!("refresh=true&prevExist=true&ttl={seconds}"));
        assert_eq!(status, 200, "{answer}");
    }

    /// Makes a directory, with more fields of the form.
    pub fn make_dir(&self, key: &str, fields: &str) {
        let (status, answer) = self.request("PUT", key, &format!("dir=true{fields}"));
        assert!((200..300).contains(&status), "{key}: {status} {answer}");
    }

    pub fn delete(&self, key: &str) {
        let (status, answer) = self.request("DELETE", key, "");
        assert_eq!(status, 200, "{answer}");
    }

    /// Deletes a directory with all that is in it.
    pub fn delete_dir(&self, key: &str) {
        let (status, answer) = self.request("DELETE", &format!("{key}?recursive=true"), "");
        assert_eq!(status, 200, "{answer}");
    }

    /// A request for a key; the status and the body of the answer.
    pub fn request(&self, method: &str, key: &str, form: &str) -> (u16, String) {
        self.call(method, &format!("/v2/keys{key}"), FORM, form).expect("an answer")
    }

    /// A request; nothing if the server does not answer.
    pub fn call(&self, method: &str, path: &str, kind: &str, body: &str) -> Option<(u16, String)> {
        let login =
            self.login.iter().map(|login| format!("Authorization: Basic {login}\r\n")).collect::<String>();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: etcd\r\n{login}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut kept = self.connection.lock().expect("unpoisoned");
        // A kept connection may have been closed by the server.
        for _ in 0..2 {
            if kept.is_none() {
                let stream = TcpStream::connect(self.server).ok()?;
                stream.set_nodelay(true).ok()?;
                stream.set_read_timeout(Some(PATIENCE)).ok()?;
                *kept = Some(BufReader::new(stream));
            }
            let connection = kept.as_mut()?;
            if connection.get_mut().write_all(request.as_bytes()).is_ok()
                && let Some(answer) = read_answer(connection)
            {
                return Some(answer);
            }
            *kept = None;
        }
        None
    }
}

/// A value as a field of a form.
fn encoded(value: &str) -> String {
    value.bytes().map(|octet| format!("%{octet:02X}")).collect()
}

fn read_answer(connection: &mut BufReader<TcpStream>) -> Option<(u16, String)> {
    let mut line = String::new();
    connection.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        is_chunked |= line == "transfer-encoding: chunked";
    }
    let mut body = Vec::new();
    loop {
        if is_chunked {
            let mut size = String::new();
            connection.read_line(&mut size).ok()?;
            length = usize::from_str_radix(size.trim_end(), 16).ok()?;
        }
        let start = body.len();
        body.resize(start + length, 0);
        connection.read_exact(&mut body[start..]).ok()?;
        if !is_chunked {
            break;
        }
        connection.read_line(&mut String::new()).ok()?;
        if length == 0 {
            break;
        }
    }
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}
