//! Kubeconfigs: which server the present context names, and who asks there.
//!
//! Programs that a kubeconfig names are not started: this program runs where it may start none. No error quotes a value.

use super::access::{Credentials, Named};
use super::error::KubernetesError;
use data_encoding::BASE64;
use saphyr::{LoadableYamlNode, Yaml};
use std::path::Path;

/// What the present context of a kubeconfig says.
pub(super) struct Kubeconfig {
    /// The URL of the server.
    pub(super) server: String,
    pub(super) credentials: Credentials,
}

impl Kubeconfig {
    /// Reads a file, and the files that it names.
    pub(super) fn read(file: &Path) -> Result<Self, KubernetesError> {
        let text = Named::read(file)?;
        let reader = Reader { file };
        let documents = Yaml::load_from_str(&String::from_utf8_lossy(&text.octets));
        let documents = documents.map_err(|error| {
            let mark = error.marker();
            reader.error(format!("no YAML: line {}, column {}: {}", mark.line(), mark.col(), error.info()))
        })?;
        let config = documents.first().ok_or_else(|| reader.error("the file is empty"))?;
        let context_name = reader.text(config, "current-context", "current-context")?;
        let context_name = context_name.ok_or_else(|| reader.error("it names no current-context"))?;
        let context = reader.named(config, "contexts", "context", &context_name)?;
        let cluster_name = reader.text(context, "cluster", "context.cluster")?.unwrap_or_default();
        let cluster = reader.named(config, "clusters", "cluster", &cluster_name)?;
        let user = match reader.text(context, "user", "context.user")? {
            Some(name) if !name.is_empty() => Some(reader.named(config, "users", "user", &name)?),
            _ => None,
        };
        let server = reader.text(cluster, "server", "cluster.server")?;
        let server =
            server.ok_or_else(|| reader.error(format!("cluster \"{cluster_name}\" names no server")))?;
        reader.refuse(cluster, &CLUSTER_REFUSED)?;
        let mut credentials = Credentials {
            authorities: reader.pem(cluster, "certificate-authority")?,
            server_name: reader.text(cluster, "tls-server-name", "cluster.tls-server-name")?,
            ..Credentials::default()
        };
        if let Some(user) = user {
            reader.refuse(user, &USER_REFUSED)?;
            credentials.identity =
                match (reader.pem(user, "client-certificate")?, reader.pem(user, "client-key")?) {
                    (Some(cert), Some(key)) => Some((cert, key)),
                    (None, None) => None,
                    _ => {
                        return Err(reader.error(
                            "the user has a client certificate without its key, or a key without it",
                        ));
                    }
                };
            credentials.token = reader.token(user)?;
        }
        Ok(Self { server, credentials })
    }
}

/// Fields that cannot be followed, with the reason.
const CLUSTER_REFUSED: [(&str, &str); 2] = [
    (
        "insecure-skip-tls-verify",
        "the server's certificate is always verified: name its authority (certificate-authority)",
    ),
    ("proxy-url", "the server is asked directly"),
];
const USER_REFUSED: [(&str, &str); 4] = [
    ("exec", "no program is started for a token: have it write one to a file (tokenFile)"),
    ("auth-provider", "servers know it no more: use a token or a client certificate"),
    ("username", "servers know no passwords any more: use a token or a client certificate"),
    ("as", "nobody else is asked for: use the credentials of the user itself"),
];

/// Reads fields of one file.
struct Reader<'f> {
    file: &'f Path,
}

impl Reader<'_> {
    fn error(&self, reason: impl Into<String>) -> KubernetesError {
        KubernetesError::File { file: self.file.to_owned(), reason: reason.into() }
    }

    /// A field that is a text; none if it is missing or null.
    fn text(&self, map: &Yaml<'_>, field: &str, shown: &str) -> Result<Option<String>, KubernetesError> {
        match map.as_mapping_get(field) {
            None => Ok(None),
            Some(value) if value.is_null() => Ok(None),
            Some(value) => match value.as_str() {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(self.error(format!("{shown} is no text"))),
            },
        }
    }

    /// The entry with a name of a list: what is in its field.
    fn named<'y>(
        &self,
        config: &'y Yaml<'y>,
        list: &str,
        field: &str,
        name: &str,
    ) -> Result<&'y Yaml<'y>, KubernetesError> {
        let entries = config.as_mapping_get(list).and_then(Yaml::as_vec);
        let is_it = |entry: &&Yaml<'_>| entry.as_mapping_get("name").and_then(Yaml::as_str) == Some(name);
        let entry = entries.and_then(|entries| entries.iter().find(is_it));
        let found = entry.and_then(|entry| entry.as_mapping_get(field));
        let name = crate::shown::quoted(name);
        found.ok_or_else(|| self.error(format!("{list} has no \"{name}\" with a field {field}")))
    }

    /// Refuses fields that are set and not false.
    fn refuse(&self, map: &Yaml<'_>, refused: &[(&str, &str)]) -> Result<(), KubernetesError> {
        let is_set = |field: &str| {
            let value = map.as_mapping_get(field);
            value.is_some_and(|value| {
                !value.is_null() && value.as_bool() != Some(false) && value.as_str() != Some("")
            })
        };
        match refused.iter().find(|(field, _)| is_set(field)) {
            Some((field, reason)) => Err(self.error(format!("{field} cannot be used: {reason}"))),
            None => Ok(()),
        }
    }

    /// What a field names a file of, or has as data; the data win, as for kubectl.
    fn pem(&self, map: &Yaml<'_>, field: &str) -> Result<Option<Named>, KubernetesError> {
        let data = format!("{field}-data");
        if let Some(text) = self.text(map, &data, &data)?.filter(|text| !text.is_empty()) {
            let text: String = text.split_whitespace().collect();
            let octets = BASE64.decode(text.as_bytes());
            let octets = octets.map_err(|error| self.error(format!("{data} is no base64: {error}")))?;
            return Ok(Some(Named { file: self.file.to_owned(), octets }));
        }
        let named = self.text(map, field, field)?.filter(|text| !text.is_empty());
        named.map(|name| Named::read(&self.in_full(&name))).transpose()
    }

    /// The token of a user: the file wins, as for kubectl, since it is renewed.
    fn token(&self, user: &Yaml<'_>) -> Result<Option<Named>, KubernetesError> {
        if let Some(name) = self.text(user, "tokenFile", "user.tokenFile")?.filter(|name| !name.is_empty()) {
            return Named::read(&self.in_full(&name)).map(Some);
        }
        let token = self.text(user, "token", "user.token")?.filter(|token| !token.is_empty());
        Ok(token.map(|token| Named { file: self.file.to_owned(), octets: token.into_bytes() }))
    }

    /// A path as the file means it: from the directory that it is in.
    fn in_full(&self, name: &str) -> std::path::PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const CONFIG: &str = "
apiVersion: v1
kind: Config
current-context: site
contexts:
- name: other
  context: {cluster: none, user: none}
- name: site
  context:
    cluster: site
    user: agent
clusters:
- name: site
  cluster:
    server: https://192.0.2.1:6443
    tls-server-name: kubernetes
users:
- name: agent
  user:
    tokenFile: token
";

    fn read(text: &str) -> Result<Kubeconfig, String> {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("token"), "secret-1\n").expect("a file");
        fs::write(dir.path().join("config"), text).expect("a file");
        Kubeconfig::read(&dir.path().join("config"))
            .map_err(|error| error.to_string().replace(&dir.path().display().to_string(), "DIR"))
    }

    #[test]
    fn the_present_context_names_server_and_user() {
        let config = read(CONFIG).expect("a kubeconfig");
        assert_eq!(config.server, "https://192.0.2.1:6443");
        assert_eq!(config.credentials.server_name.as_deref(), Some("kubernetes"));
        let token = config.credentials.token.expect("a token");
        assert_eq!((token.octets, token.file.ends_with("token")), (b"secret-1\n".to_vec(), true));
        let inline = CONFIG.replace("tokenFile: token", "token: secret-2");
        let token = read(&inline).expect("a kubeconfig").credentials.token.expect("a token");
        assert_eq!(token.octets, b"secret-2");
        let json = r#"{"current-context":"a","contexts":[{"name":"a","context":{"cluster":"c"}}],
            "clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:8001"}}]}"#;
        assert_eq!(read(json).expect("JSON is YAML").server, "http://127.0.0.1:8001");
    }

    #[test]
    fn what_cannot_be_used_is_an_error_that_names_the_field_and_no_value() {
        for (from, to, reason) in [
            ("tokenFile: token", "exec: {command: aws}", "exec cannot be used: no program is started"),
            ("tokenFile: token", "username: u", "username cannot be used"),
            ("tokenFile: token", "token: [secret]", "user.token is no text"),
            ("tokenFile: token", "tokenFile: missing", "DIR/missing: cannot be read"),
            ("tokenFile: token", "client-key-data: c2VjcmV0", "without its key"),
            ("tokenFile: token", "client-key-data: '!secret'", "client-key-data is no base64"),
            (
                "tls-server-name: kubernetes",
                "insecure-skip-tls-verify: true",
                "insecure-skip-tls-verify cannot",
            ),
            ("tls-server-name: kubernetes", "certificate-authority: no.pem", "DIR/no.pem: cannot be read"),
            ("server: https://192.0.2.1:6443", "x: y", "cluster \"site\" names no server"),
            ("current-context: site", "current-context: nowhere", "contexts has no \"nowhere\""),
            ("current-context: site", "x: y", "it names no current-context"),
            ("    user: agent", "    user: nobody", "users has no \"nobody\""),
            ("current-context: site", "current-context: [", "no YAML: line"),
        ] {
            let error = read(&CONFIG.replace(from, to)).err().expect(to);
            assert!(error.contains(reason) && !error.contains("secret"), "{error}");
        }
        assert!(read("").err().expect("empty").contains("empty"));
        let fine = CONFIG.replace("tls-server-name: kubernetes", "insecure-skip-tls-verify: false");
        assert!(read(&fine).is_ok());
    }
}
