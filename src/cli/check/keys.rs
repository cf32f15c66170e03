//! The DNSSEC keys of the site, as far as they can be judged without an agent.

use super::report::{ProblemKind, Report};
use crate::agent::{LastGood, SiteKeys, missing_key_text, signed_fallthrough};
use crate::config::{Config, Spec};

/// Reports DNSSEC keys whose files are missing, do not belong together, or are for another domain; zones that were signed and
/// have none now; and zones that do not fall through because they are signed.
pub(super) fn check(
    spec: &Spec,
    config: Option<&Config>,
    origin: &str,
    last_good: &LastGood,
    report: &mut Report,
) {
    if spec.dnssec.is_empty() {
        return;
    }
    let keys = SiteKeys::read(&spec.dnssec, &spec.domains());
    for key in keys.keys() {
        let key = &key.public;
        report.found(&format!("key {} of {}, algorithm {}", key.tag(), key.owner, key.algorithm.number()));
    }
    for problem in keys.problems() {
        report.problem(ProblemKind::Setting, &format!("{origin}: {problem}"));
    }
    keys.notes.iter().for_each(|note| report.note(note));
    if keys.keys().next().is_none() && keys.problems().next().is_none() {
        let what = format!("{origin}: none of the keys is one of a domain of ours, so nothing is signed");
        report.problem(ProblemKind::Setting, &what);
    }
    let zones = config.into_iter().flat_map(|config| config.site.zones.iter());
    for (zone, own) in zones.zip(&keys.zones) {
        let (domain, has_keys) = (zone.domain(), !own.keys.is_empty());
        if has_keys && zone.falls_through {
            report.problem(ProblemKind::Setting, &signed_fallthrough(domain, spec).problem());
        } else if !has_keys && own.problems.is_empty() && last_good.is_signed(domain) {
            report.problem(ProblemKind::Setting, &format!("{origin}: {}", missing_key_text(domain)));
        }
    }
}
