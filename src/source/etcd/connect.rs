//! How etcd is reached: endpoints, TLS, user.

use super::error::EtcdError;
use crate::regular_file;
use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use rustls::InconsistentKeys;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;
use webpki::EndEntityCert;

/// Time to reach an endpoint and to log in there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a server that sends nothing is pinged. etcd ends connections that ping more often than every five seconds
/// (its `--grpc-keepalive-min-time`).
const KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(7);

/// Time for the answer to a ping. Together with [`KEEP_ALIVE_PERIOD`] this bounds how late a frozen server is noticed.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Endpoints where none are configured: where etcd listens on the local machine, now and in its first years.
const DEFAULT_ENDPOINTS: [&str; 2] = ["http://127.0.0.1:2379", "http://127.0.0.1:4001"];

/// Whether reads have to give the present state of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// They have to: a server without a quorum of the others cannot answer.
    Current,
    /// They need not: a server answers from what it has ("serializable").
    Stale,
}

/// How to reach etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdSettings {
    /// URLs without a slash at the end; at least one.
    pub endpoints: Vec<String>,
    /// Files for TLS.
    pub tls: TlsFiles,
    /// User name and password.
    pub user: Option<(String, String)>,
    /// Whether the endpoints follow the member list.
    pub discover: bool,
}

/// Files for TLS, read anew for each connection so that renewed files are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority that signed the server's certificate; without it, the authorities that the system trusts.
    pub ca_cert: Option<PathBuf>,
    /// The client's certificate.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

impl EtcdSettings {
    /// Settings with these endpoints; without any, etcd is looked for on the local machine.
    ///
    /// # Errors
    /// There is a client certificate without its key, or a key without its certificate.
    pub fn new(
        machines: &[String],
        tls: TlsFiles,
        user: Option<(String, String)>,
        discover: bool,
    ) -> Result<Self, EtcdError> {
        if tls.cert.is_some() != tls.key.is_some() {
            return Err(EtcdError::HalfIdentity);
        }
        let mut endpoints = machines.to_vec();
        if endpoints.is_empty() {
            endpoints.extend(DEFAULT_ENDPOINTS.map(str::to_owned));
        }
        Ok(Self { endpoints, tls, user, discover })
    }

    /// Whether no endpoint is set, so that etcd is looked for on the local machine.
    pub(super) fn are_default(&self) -> bool {
        self.endpoints == DEFAULT_ENDPOINTS
    }

    /// The endpoints of the member list, then the configured ones that are not among them.
    pub(super) fn merged(&self, members: Vec<String>) -> Vec<String> {
        let mut endpoints = members;
        let configured: Vec<_> = self.endpoints.iter().filter(|e| !endpoints.contains(e)).cloned().collect();
        endpoints.extend(configured);
        endpoints
    }

    /// Reads the TLS files, and returns what is wrong with each: it cannot be read, or holds no certificate or key.
    pub fn tls_problems(&self) -> Vec<EtcdError> {
        let TlsFiles { ca_cert, cert, key } = &self.tls;
        let ca_cert = ca_cert.as_deref().and_then(|file| read_ca_cert(file).err());
        let of_cert = cert.as_deref().and_then(|file| read_own_cert(file).err());
        let mut of_key = key.as_deref().and_then(|file| read_key(file).err());
        if let (Some(cert), Some(key), None, None) = (cert, key, &of_cert, &of_key) {
            of_key = read_identity(cert, key).err();
        }
        [ca_cert, of_cert, of_key].into_iter().flatten().collect()
    }

    /// Connects to one endpoint, and logs in if there is a user. With `Reads::Current`, the server refuses requests while it
    /// knows no leader, so that another server is asked.
    pub(super) async fn connect(&self, endpoint: &str, reads: Reads) -> Result<Client, EtcdError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(KEEP_ALIVE_PERIOD, KEEP_ALIVE_TIMEOUT)
            .with_keep_alive_while_idle(true)
            .with_require_leader(reads == Reads::Current)
            .with_auto_token_refresh(true);
        if endpoint.starts_with("https://") {
            options = options.with_tls(self.tls.options()?);
        }
        let anonymous = options.clone();
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, password);
        }
        let open = |options| timeout(CONNECT_TIMEOUT, Client::connect([endpoint], Some(options)));
        let opened = match open(options).await {
            // A host may have the password before authentication is enabled in etcd. Once it is enabled, the requests on
            // this connection fail, and the next connection logs in.
            Ok(Err(error)) if self.user.is_some() && is_auth_off(&error) => open(anonymous).await,
            opened => opened,
        };
        match opened {
            Ok(client) => client.map_err(|error| EtcdError::failed(endpoint, "connecting", &error)),
            Err(_) => Err(EtcdError::Timeout {
                endpoint: endpoint.to_owned(),
                what: "connecting",
                limit: CONNECT_TIMEOUT,
            }),
        }
    }
}

/// Whether etcd refused the login because authentication is not enabled.
fn is_auth_off(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains("authentication is not enabled"))
}

impl TlsFiles {
    /// The options for a TLS connection.
    fn options(&self) -> Result<TlsOptions, EtcdError> {
        let mut options = TlsOptions::new();
        options = match &self.ca_cert {
            Some(file) => options.ca_certificate(Certificate::from_pem(read_ca_cert(file)?)),
            None => options.with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            let (cert, key) = read_identity(cert, key)?;
            options = options.identity(Identity::from_pem(cert, key));
        }
        Ok(options)
    }
}

/// The content of the file of authorities.
fn read_ca_cert(file: &Path) -> Result<Vec<u8>, EtcdError> {
    let pem = read("ca-cert", file)?;
    certificates("ca-cert", file, &pem)?;
    Ok(pem)
}

/// The content of the file of our own certificate.
fn read_own_cert(file: &Path) -> Result<Vec<u8>, EtcdError> {
    let pem = read("tls-pem", file)?;
    check_own("tls-pem", file, &certificates("tls-pem", file, &pem)?)?;
    Ok(pem)
}

/// The content of the file of our private key.
fn read_key(file: &Path) -> Result<Vec<u8>, EtcdError> {
    let pem = read("tls-key", file)?;
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(_) => Ok(pem),
        Err(error) => Err(EtcdError::TlsFile {
            setting: "tls-key",
            file: file.to_owned(),
            reason: format!("no private key in PEM form: {error}"),
        }),
    }
}

/// The content of the files of our own certificate and of its private key.
fn read_identity(cert_file: &Path, key_file: &Path) -> Result<(Vec<u8>, Vec<u8>), EtcdError> {
    let (cert, key) = (read_own_cert(cert_file)?, read_key(key_file)?);
    let fail =
        |reason: String| Err(EtcdError::TlsFile { setting: "tls-key", file: key_file.to_owned(), reason });
    let first = certificates("tls-pem", cert_file, &cert)?;
    let Ok(der) = PrivateKeyDer::from_pem_slice(&key) else { return Ok((cert, key)) };
    let signing = match any_supported_type(&der) {
        Ok(signing) => signing,
        Err(error) => return fail(format!("a private key that cannot be used: {error}")),
    };
    match CertifiedKey::new(vec![first], signing).keys_match() {
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            fail(format!("the private key is not that of the certificate {}", cert_file.display()))
        }
        _ => Ok((cert, key)),
    }
}

fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, EtcdError> {
    regular_file::read(file).map_err(|error| EtcdError::TlsFile {
        setting,
        file: file.to_owned(),
        reason: format!("cannot be read: {error}{}", regular_file::reader_hint(&error)),
    })
}

/// Checks that a file has certificates, and returns the first one.
fn certificates(
    setting: &'static str,
    file: &Path,
    pem: &[u8],
) -> Result<CertificateDer<'static>, EtcdError> {
    let fail = |reason: String| EtcdError::TlsFile { setting, file: file.to_owned(), reason };
    let mut first = None;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| fail(format!("a damaged certificate: {error}")))?;
        first.get_or_insert(certificate);
    }
    first.ok_or_else(|| fail("no certificate in PEM form".to_owned()))
}

/// Checks that our own certificate can be sent. The TLS library says of one that cannot be that the peer's is invalid.
fn check_own(setting: &'static str, file: &Path, certificate: &CertificateDer<'_>) -> Result<(), EtcdError> {
    let reason = match EndEntityCert::try_from(certificate) {
        Ok(_) => return Ok(()),
        Err(webpki::Error::UnsupportedCertVersion) => {
            "an X.509 version 1 certificate, and version 3 is needed: have it signed with extensions (openssl x509 -extfile)"
                .to_owned()
        }
        Err(error) => format!("a certificate that cannot be used: {error}"),
    };
    Err(EtcdError::TlsFile { setting, file: file.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_tls_files_name_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ca.pem");
        let with = |ca: &Path| TlsFiles { ca_cert: Some(ca.to_owned()), ..TlsFiles::default() };
        let error = |tls: TlsFiles| tls.options().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error(with(&file)).starts_with("-ca-cert: "));
        assert!(error(with(&file)).contains("cannot be read"));
        std::fs::write(&file, "hello").expect("a file");
        assert!(error(with(&file)).contains("no certificate in PEM form"));
        let half = TlsFiles { cert: Some(file), ..TlsFiles::default() };
        assert!(matches!(EtcdSettings::new(&[], half, None, false), Err(EtcdError::HalfIdentity)));
    }

    /// A certificate of X.509 version 1, as `openssl x509 -req` makes it without extensions.
    const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIH9MIGjAhQnNbj2nJBNAeUdW4mg2+G5OBIMejAKBggqhkjOPQQDAjAAMCAXDTI2\n\
MTEyNjA0MjQ0OVoYDzIxMjYxMTAyMDQyNDQ5WjAAMFkwEwYHKoZIzj0CAQYIKoZI\n\
zj0DAQcDQgAE6huCgt4Bh3Om4kQevfgppPNXZaazQmRlWDnMrXVFyzP+ou27acwA\n\
lzGVFGeLZE8aISWIl2dpgYif974vmN9KozAKBggqhkjOPQQDAgNJADBGAiEAkLGx\n\
KRADhBOMsC+AJr1oZF7hN3ziouaKRqEp+o4snawCIQCLTmxuntjnr9EsqfVx+rGY\n\
8vC5ikXR97D+VI9EjwBHIg==\n\
-----END CERTIFICATE-----\n\
";

    #[test]
    fn an_own_certificate_that_cannot_be_sent_is_an_error_of_its_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let (cert, key) = (dir.path().join("client.pem"), dir.path().join("client.key"));
        let error = |pem: &str| {
            std::fs::write(&cert, pem).expect("a file");
            let tls = TlsFiles { cert: Some(cert.clone()), key: Some(key.clone()), ca_cert: None };
            tls.options().err().map(|error| error.to_string()).unwrap_or_default()
        };
        let begin = format!("-tls-pem: {}: ", cert.display());
        let version_1 = error(VERSION_1);
        assert!(version_1.starts_with(&format!("{begin}an X.509 version 1 certificate")), "{version_1}");
        let damaged = error("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
        assert!(damaged.starts_with(&format!("{begin}a certificate that cannot be used")), "{damaged}");
    }
}
