//! Names of variables that no setting has. In a file that is written for the agent such a name is a mistake.

use super::settings::{STATISTICS, flags};

/// What to make of the name of a variable in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// A setting has it, or it is none of the agent's business.
    Known,
    /// It is meant for the agent, and means nothing to it.
    Refused,
    /// It may be meant for the agent, or for another program.
    Noticed,
}

/// What names of the agent's own variables begin with.
const OWN_PREFIX: &str = "SKYDNS_";

/// What names begin with that other programs have as well: etcd and servers of statistics.
const SHARED_PREFIXES: [&str; 5] = ["ETCD_", "PROMETHEUS_", "GRAPHITE_", "INFLUX_", "STATHAT_"];

/// Variables that say which files of variables there are, so that no such file can.
pub const NAMES_OF_FILES: [&str; 2] = ["SKYDNS_ENV_FILE", "SKYDNS_CONF_DIR"];

/// The variable that a word at the beginning of a line means, if it is one or nearly one.
pub(super) fn meant(word: &str) -> Option<&'static str> {
    all_names().find(|known| *known == word).or_else(|| nearest(word))
}

/// Judges a name.
pub(super) fn judge(name: &str) -> Judgement {
    let is_known = || all_names().any(|known| known == name);
    if NAMES_OF_FILES.contains(&name) || name.starts_with(OWN_PREFIX) && !is_known() {
        Judgement::Refused
    } else if SHARED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !is_known() {
        Judgement::Noticed
    } else {
        Judgement::Known
    }
}

/// What is wrong with a name that is not [known](Judgement::Known). This compares it with all names, which takes a while.
pub(super) fn reason(name: &str) -> String {
    if NAMES_OF_FILES.contains(&name) {
        return "a file of variables cannot name others: set it in the unit (systemctl edit skydns), or as a flag".to_owned();
    }
    let nearest = nearest(name).map(|known| format!("; {known} is the nearest one")).unwrap_or_default();
    let what = if name.starts_with(OWN_PREFIX) {
        "no setting has this name"
    } else {
        "the agent has no such setting"
    };
    format!("{what}{nearest}")
}

/// Whether a setting has this variable.
pub fn is_variable(name: &str) -> bool {
    all_names().any(|known| known == name)
}

/// The names of all variables.
fn all_names() -> impl Iterator<Item = &'static str> {
    let settings = flags().flat_map(|setting| setting.variables.iter().copied());
    settings.chain(STATISTICS.iter().map(|variable| variable.name))
}

/// The known name that is most like another one; `None` if none is like it.
fn nearest(name: &str) -> Option<&'static str> {
    // The right name with the beginning of others: settings of etcd begin with ETCD_.
    let of_etcd = name.strip_prefix(OWN_PREFIX).map(|own| format!("ETCD_{own}"));
    if let Some(known) = all_names().find(|known| of_etcd.as_deref() == Some(known)) {
        return Some(known);
    }
    let (distance, nearest) = all_names().map(|known| (distance(name, known), known)).min()?;
    // A third of the letters beside the prefix: enough for a mistake in typing, too little for another word.
    let own = name.split_once('_').map_or(name.len(), |(_, own)| own.chars().count());
    (distance <= own.div_ceil(3)).then_some(nearest)
}

/// The number of letters to insert, remove, replace, or exchange with their neighbours to make one text of the other
/// (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let one: Vec<char> = one.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut this = vec![row + 1];
        for (column, other_letter) in other.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != other_letter);
            let mut least = replaced.min(last[column + 1] + 1).min(this[column] + 1);
            if row > 0 && column > 0 && *letter == other[column - 1] && one[row - 1] == *other_letter {
                least = least.min(before[column - 1] + 1);
            }
            this.push(least);
        }
        before = std::mem::replace(&mut last, this);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_typing_is_told_with_what_was_meant() {
        for (name, meant) in [
            ("SKYDNS_TLT", "SKYDNS_TTL"),
            ("SKYDNS_NAMESERVER", "SKYDNS_NAMESERVERS"),
            ("SKYDNS_ROUNDROBIN", "SKYDNS_ROUND_ROBIN"),
            ("SKYDNS_DNSEC", "SKYDNS_DNSSEC"),
            ("SKYDNS_MACHINES", "ETCD_MACHINES"),
            ("SKYDNS_PASSWORD", "ETCD_PASSWORD"),
        ] {
            assert_eq!(judge(name), Judgement::Refused);
            assert_eq!(reason(name), format!("no setting has this name; {meant} is the nearest one"));
        }
        assert_eq!(reason("SKYDNS_COLOUR_OF_THE_SKY"), "no setting has this name");
        assert_eq!(judge("SKYDNS_CONF_DIR"), Judgement::Refused);
        assert!(reason("SKYDNS_CONF_DIR").starts_with("a file of variables cannot name others"));
        assert_eq!([judge("SKYDNS_TTL"), judge("TZ")], [Judgement::Known; 2]);
        assert_eq!(judge("ETCD_MACHINE"), Judgement::Noticed);
        assert!(reason("ETCD_MACHINE").contains("ETCD_MACHINES"));
    }
}
