//! The setting `-allow`: the clients whose queries for names outside the domain are forwarded.

use super::input::SettingError;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

/// The clients whose queries are forwarded. Queries of this host itself are always forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// Clients in private networks that this host is directly connected to.
    pub local: bool,
    /// All clients.
    pub any: bool,
    /// Clients in these networks.
    pub networks: Vec<IpNet>,
}

impl Default for Allow {
    fn default() -> Self {
        Self { local: true, any: false, networks: Vec::new() }
    }
}

impl Allow {
    /// Reads a list of networks, addresses and the words `host`, `local` and `any`; the default if it is empty.
    ///
    /// # Errors
    /// A part is no network, no address and none of these words.
    pub(super) fn parse(parts: &[&str]) -> Result<Self, SettingError> {
        if parts.is_empty() {
            return Ok(Self::default());
        }
        let mut allow = Self { local: false, any: false, networks: Vec::new() };
        for part in parts {
            match *part {
                // This host is always allowed.
                "host" => {}
                "local" => allow.local = true,
                "any" => allow.any = true,
                text => {
                    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
                    let network: IpNet = network.map_err(|_| SettingError::Choice {
                        found: text.to_owned(),
                        expected: "a network (192.0.2.0/24), an address, host, local or any",
                    })?;
                    allow.networks.push(network.trunc());
                }
            }
        }
        Ok(allow)
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [("local", self.local), ("any", self.any)];
        let words = words.iter().filter(|(_, set)| *set).map(|(word, _)| (*word).to_owned());
        let parts: Vec<_> = words.chain(self.networks.iter().map(ToString::to_string)).collect();
        f.write_str(&if parts.is_empty() { "host".to_owned() } else { parts.join(",") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_addresses_and_words_are_read() {
        let read = |parts: &[&str]| Allow::parse(parts).map(|allow| allow.to_string());
        assert_eq!(read(&[]).expect("read"), "local");
        assert_eq!(read(&["host"]).expect("read"), "host");
        assert_eq!(
            read(&["192.0.2.77/24", "local", "2001:db8::1"]).expect("read"),
            "local,192.0.2.0/24,2001:db8::1/128"
        );
        for bad in ["192.0.2.0/33", "everyone", "192.0.2", "::1/"] {
            let error = read(&[bad]).expect_err("refused").to_string();
            assert!(error.starts_with(&format!("\"{bad}\" is not a network")), "{error}");
        }
    }
}
