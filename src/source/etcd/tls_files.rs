//! The files for TLS: what is in them, and what is wrong with them.

use super::error::EtcdError;
use crate::regular_file;
use etcd_client::{Certificate, Identity, TlsOptions};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use webpki::EndEntityCert;

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

impl TlsFiles {
    /// Reads the files, and returns what is wrong with each: it cannot be read, or holds no certificate or key.
    pub(super) fn problems(&self) -> Vec<EtcdError> {
        let Self { ca_cert, cert, key } = self;
        let ca_cert = ca_cert.as_deref().and_then(|file| read_ca_cert(file).err());
        let of_cert = cert.as_deref().and_then(|file| read_own_cert(file).err());
        let mut of_key = key.as_deref().and_then(|file| read_key(file).err());
        if let (Some(cert), Some(key), None, None) = (cert, key, &of_cert, &of_key) {
            of_key = read_identity(cert, key).err();
        }
        [ca_cert, of_cert, of_key].into_iter().flatten().collect()
    }

    /// The options for a TLS connection of the client of the v3 API.
    pub(super) fn options(&self) -> Result<TlsOptions, EtcdError> {
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

    /// The same for HTTP/1.1.
    pub(super) fn client_config(&self) -> Result<ClientConfig, EtcdError> {
        let mut roots = RootCertStore::empty();
        match &self.ca_cert {
            Some(file) => {
                let pem = read_ca_cert(file)?;
                // Each is a certificate: that was checked.
                roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
            }
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| EtcdError::Tls(error.to_string()))?
            .with_root_certificates(roots);
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else {
            return Ok(builder.with_no_client_auth());
        };
        let (cert_pem, key_pem) = read_identity(cert, key)?;
        let chain = CertificateDer::pem_slice_iter(&cert_pem).flatten().collect();
        let unusable = |reason: String| EtcdError::TlsFile { setting: "tls-key", file: key.clone(), reason };
        let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| unusable(error.to_string()))?;
        builder.with_client_auth_cert(chain, key).map_err(|error| unusable(error.to_string()))
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
    use crate::source::etcd::EtcdSettings;

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
