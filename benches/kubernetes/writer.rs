//! A client that writes to an API server over one connection, and waits for as little as it can.

use super::real::{ADMIN, Cluster};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

pub(crate) struct Writer {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    host: String,
}

impl Writer {
    pub(crate) fn connect(cluster: &Cluster) -> Self {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(cluster.dir.path().join("certs/apiserver.crt"));
        for certificate in certificates.expect("a certificate") {
            roots.add(certificate.expect("a certificate")).expect("a certificate");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let host = cluster.url().trim_start_matches("https://").to_owned();
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let tls = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let tcp = TcpStream::connect(&host).expect("a connection");
        tcp.set_nodelay(true).expect("a socket");
        Self { stream: BufReader::new(StreamOwned::new(tls, tcp)), host }
    }

    /// Sends an object; returns the status.
    pub(crate) fn send(&mut self, method: &str, path: &str, object: &Value) -> u16 {
        let body = object.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {ADMIN}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).expect("sent");
        let (mut status, mut len) = (0, None);
        loop {
            let line = self.line();
            match line.split_once([' ', ':']) {
                None => break,
                Some(("HTTP/1.1", rest)) => status = rest[..3].parse().expect("a status"),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    len = Some(value.trim().parse().expect("a length"));
                }
                Some(_) => {}
            }
        }
        match len {
            Some(len) => self.skip(len),
            // In chunks, of which the last one is empty.
            None => loop {
                let len = usize::from_str_radix(&self.line(), 16).expect("a length");
                self.skip(len + 2);
                if len == 0 {
                    break;
                }
            },
        }
        status
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn skip(&mut self, octets: usize) {
        self.stream.read_exact(&mut vec![0; octets]).expect("a body");
    }
}
