//! How the API server is reached, and who asks: read anew for each connection, so that renewed certificates and rotated tokens
//! are used.

use super::error::KubernetesError;
use super::kubeconfig::Kubeconfig;
use super::settings::Access;
use crate::regular_file;
use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// Where a pod finds the credentials of its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The API server, ready to be connected to.
#[derive(Clone)]
pub(super) struct ApiServer {
    /// Its URL, for messages.
    pub(super) url: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// What the value of the header Host is.
    pub(super) authority: HeaderValue,
    /// What all paths begin with.
    pub(super) base: String,
    /// TLS, and the name that the certificate has to have.
    pub(super) tls: Option<(TlsConnector, String)>,
    /// The value of the header Authorization.
    pub(super) authorization: Option<HeaderValue>,
}

/// What is known of the server and of who asks.
#[derive(Default)]
pub(super) struct Credentials {
    /// The authorities that sign the server's certificate, in PEM form; those that the system trusts without it.
    pub(super) authorities: Option<Named>,
    /// The name that the server's certificate has to have, if it is not that of the URL.
    pub(super) server_name: Option<String>,
    /// Our own certificate and its key, in PEM form.
    pub(super) identity: Option<(Named, Named)>,
    pub(super) token: Option<Named>,
}

/// What is in a file, or in a field of it.
pub(super) struct Named {
    /// Where it is.
    pub(super) file: PathBuf,
    pub(super) octets: Vec<u8>,
}

impl Named {
    /// Reads a file.
    pub(super) fn read(file: &Path) -> Result<Self, KubernetesError> {
        let octets = regular_file::read(file).map_err(|error| KubernetesError::File {
            file: file.to_owned(),
            reason: format!("cannot be read: {error}{}", regular_file::reader_hint(&error)),
        })?;
        Ok(Self { file: file.to_owned(), octets })
    }

    fn error(&self, reason: impl Into<String>) -> KubernetesError {
        KubernetesError::File { file: self.file.clone(), reason: reason.into() }
    }
}

impl Access {
    /// Reads the files that say how the server is reached.
    pub(super) fn open(&self) -> Result<ApiServer, KubernetesError> {
        match self {
            Self::Url(url) => ApiServer::new(url, &Credentials::default()),
            Self::Kubeconfig { file, url } => {
                let config = Kubeconfig::read(file)?;
                ApiServer::new(url.as_deref().unwrap_or(&config.server), &config.credentials)
            }
            Self::Pod => in_pod(),
        }
    }

    /// What is wrong with the files that say how the server is reached.
    pub fn problem(&self) -> Option<KubernetesError> {
        self.open().err()
    }

    /// The URL of the server; `None` if the files that say so cannot be read.
    pub fn url(&self) -> Option<String> {
        self.open().ok().map(|server| server.url)
    }

    /// The server, for messages, as far as it is known without any file.
    pub fn name(&self) -> String {
        match self {
            Self::Url(url) | Self::Kubeconfig { url: Some(url), .. } => url.clone(),
            Self::Kubeconfig { file, url: None } => format!("the server of {}", file.display()),
            Self::Pod => "the server of this pod's cluster".to_owned(),
        }
    }
}

fn in_pod() -> Result<ApiServer, KubernetesError> {
    let variable = |name: &str| {
        env::var(name).ok().filter(|value| !value.is_empty()).ok_or_else(|| {
            KubernetesError::Setting(format!(
                "nothing says where the API server is: give -master or -kubeconfig (in a pod, {name} says so)"
            ))
        })
    };
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let file = |name: &str| Named::read(&Path::new(SERVICE_ACCOUNT).join(name));
    let credentials = Credentials {
        authorities: Some(file("ca.crt")?),
        token: Some(file("token")?),
        ..Credentials::default()
    };
    ApiServer::new(&format!("https://{host}:{port}"), &credentials)
}

impl ApiServer {
    fn new(url: &str, credentials: &Credentials) -> Result<Self, KubernetesError> {
        let wrong = |why: &str| KubernetesError::Setting(format!("{url}: {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("not the URL of an API server"))?;
        let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else {
            return Err(wrong("a URL without a host"));
        };
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("the URL of an API server begins with https:// or http://")),
        };
        if authority.as_str().contains('@') {
            return Err(KubernetesError::Setting(
                "the URL of the API server names a user: give a token by -kubeconfig".to_owned(),
            ));
        }
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = credentials.server_name.clone().unwrap_or_else(|| host.clone());
        let tls = is_tls.then(|| client_config(credentials)).transpose()?;
        let authorization = credentials.token.as_ref().map(|token| {
            let text = String::from_utf8_lossy(&token.octets);
            let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim()))
                .map_err(|_| token.error("the token has octets that no header can carry"))?;
            value.set_sensitive(true);
            Ok::<_, KubernetesError>(value)
        });
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: HeaderValue::try_from(authority.as_str()).map_err(|_| wrong("not a URL"))?,
            base: uri.path().trim_end_matches('/').to_owned(),
            tls: tls.map(|config| (TlsConnector::from(Arc::new(config)), name)),
            authorization: authorization.transpose()?,
            host,
        })
    }
}

fn client_config(credentials: &Credentials) -> Result<ClientConfig, KubernetesError> {
    let mut roots = RootCertStore::empty();
    match &credentials.authorities {
        Some(pem) => {
            for certificate in certificates(pem)? {
                let bad = |error| pem.error(format!("a certificate that cannot be used: {error}"));
                roots.add(certificate).map_err(bad)?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| KubernetesError::Setting(format!("TLS: {error}")))?
        .with_root_certificates(roots);
    let Some((cert, key)) = &credentials.identity else { return Ok(builder.with_no_client_auth()) };
    let unusable = |error| key.error(format!("no private key in PEM form: {error}"));
    let private = PrivateKeyDer::from_pem_slice(&key.octets).map_err(unusable)?;
    let chain = certificates(cert)?;
    let unusable = |error| key.error(format!("the key and its certificate cannot be used: {error}"));
    builder.with_client_auth_cert(chain, private).map_err(unusable)
}

/// The certificates of a text in PEM form, at least one.
fn certificates(pem: &Named) -> Result<Vec<CertificateDer<'static>>, KubernetesError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.octets).collect();
    let all = all.map_err(|error| pem.error(format!("a damaged certificate: {error}")))?;
    if all.is_empty() { Err(pem.error("no certificate in PEM form")) } else { Ok(all) }
}
