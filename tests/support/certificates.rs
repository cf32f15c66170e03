//! An authority, and certificates that it signed for a server on loopback and for a client.

use super::run;
use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use std::path::Path;
use std::process::Command;

/// The files `ca.pem`, `server.pem`, `server.key`, `client.pem` and `client.key`.
pub struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        openssl(dir.path(), "req -x509 -subj /CN=authority -keyout ca.key -out ca.pem -days 2", true);
        for (name, usage) in [("server", "serverAuth"), ("client", "clientAuth")] {
            let extensions = format!("subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\n");
            std::fs::write(dir.path().join("ext"), extensions).expect("a file");
            openssl(dir.path(), &format!("req -subj /CN={name} -keyout {name}.key -out {name}.csr"), true);
            let sign = format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2");
            openssl(dir.path(), &format!("{sign} -extfile ext -out {name}.pem"), false);
        }
        Self { dir }
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The arguments of an etcd that uses them.
    pub fn of_server(&self, wants_client_certificate: bool) -> Vec<String> {
        let files = [("--cert-file", "server.pem"), ("--key-file", "server.key")];
        let client = [("--trusted-ca-file", "ca.pem")];
        let client = client.into_iter().filter(|_| wants_client_certificate);
        let files = files.into_iter().chain(client);
        let mut args: Vec<_> = files.flat_map(|(flag, name)| [flag.to_owned(), self.path(name)]).collect();
        args.extend(wants_client_certificate.then(|| "--client-cert-auth".to_owned()));
        args
    }

    /// The options of a client that has a certificate.
    pub fn of_client(&self) -> ConnectOptions {
        let pem = |name: &str| std::fs::read(self.path(name)).expect("a file");
        let identity = Identity::from_pem(pem("client.pem"), pem("client.key"));
        let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(pem("ca.pem")));
        ConnectOptions::new().with_tls(tls.identity(identity))
    }
}

fn openssl(dir: &Path, args: &str, makes_key: bool) {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(args.split(' '));
    if makes_key {
        command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    }
    run(&mut command);
}
