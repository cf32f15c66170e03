//! Endpoints of etcd.

use super::input::SettingError;

/// The URL of an endpoint, with a scheme and without a slash at the end.
///
/// # Errors
/// The text is no URL of http or https, or has a path, or a user name: that would be logged with its password.
pub(super) fn endpoint(text: &str) -> Result<String, SettingError> {
    let bad = || SettingError::Endpoint(text.to_owned());
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = url.trim_end_matches('/').to_owned();
    let parsed: hyper::Uri = url.parse().map_err(|_| bad())?;
    let known = matches!(parsed.scheme_str(), Some("http" | "https"));
    let plain = parsed.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if known && plain && parsed.host().is_some_and(|host| !host.is_empty()) && parsed.path() == "/" {
        Ok(url)
    } else {
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_urls() {
        let of = |text| endpoint(text).ok();
        assert_eq!(of("http://10.0.0.1:4001/").as_deref(), Some("http://10.0.0.1:4001"));
        assert_eq!(of("10.0.0.1:2379").as_deref(), Some("http://10.0.0.1:2379"));
        assert_eq!(of("https://etcd.example.org").as_deref(), Some("https://etcd.example.org"));
        for wrong in ["ftp://x", "http://", "http://x/path", "http://me:secret@x", "a b", ""] {
            assert!(of(wrong).is_none(), "{wrong}");
        }
    }
}
