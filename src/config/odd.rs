//! Values that can be used, and that hardly anybody means.

use super::spec::Spec;
use std::time::Duration;

/// No answer of another host comes sooner than this.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// Clients give up long before this.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Services move within this time: a day.
const LONGEST_TTL: u32 = 86_400;

impl Spec {
    /// Says which values are odd, and what they do.
    pub fn oddities(&self) -> Vec<String> {
        let mut odd = Vec::new();
        let timeout = self.read_timeout;
        if timeout < SHORTEST_TIMEOUT {
            odd.push(format!(
                "-rtimeout (read_timeout) is {timeout:?}, in which no upstream can answer: a number without a unit means nanoseconds"
            ));
        } else if timeout > LONGEST_TIMEOUT {
            odd.push(format!(
                "-rtimeout (read_timeout) is {timeout:?}: clients give up before an upstream is given up"
            ));
        }
        if self.ttl > LONGEST_TTL {
            odd.push(format!(
                "-ttl is {} s: clients use the address of a service for so long after it has moved",
                self.ttl
            ));
        }
        if self.min_ttl > LONGEST_TTL {
            odd.push(format!("-min-ttl is {} s: clients do not see a new service for so long", self.min_ttl));
        }
        if self.domain.iter().count() == 1 && !self.domain.is_root() {
            odd.push(format!(
                "-domain {} has one label: all names of this top-level domain are answered here",
                self.domain
            ));
        }
        odd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_that_were_meant_as_seconds_are_told() {
        assert_eq!(Spec::default().oddities(), [""; 0]);
        let spec =
            Spec::default().with_store("k", br#"{"read_timeout":2,"ttl":604800}"#, Default::default()).spec;
        let odd = spec.oddities();
        assert!(
            odd[0].starts_with("-rtimeout (read_timeout) is 2ns, in which no upstream can answer"),
            "{odd:?}"
        );
        assert!(odd[1].starts_with("-ttl is 604800 s"), "{odd:?}");
    }
}
