//! Label selectors of Kubernetes, as `kubectl -l` takes them: whether a text is one.
//!
//! They are sent to the API server as they are written, which selects by them. Here they are only checked, so that a misspelt
//! one is refused as a setting, and the good one before stays.

/// Whether a text is a selector: requirements with commas between them, such as `tier in (a, b), !old, app=shop`.
pub(super) fn is_selector(text: &str) -> bool {
    let mut is_inside = false;
    let mut requirements = text.split(|c| {
        is_inside = (is_inside || c == '(') && c != ')';
        c == ',' && !is_inside
    });
    requirements.all(|requirement| is_requirement(trimmed(requirement)))
}

/// The text without blanks at its ends.
fn trimmed(text: &str) -> &str {
    text.trim_matches(BLANKS)
}

/// What counts as a blank.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

fn is_requirement(text: &str) -> bool {
    let words = text.find(|c: char| BLANKS.contains(&c) || "=!<>(".contains(c));
    let (key, rest) = text.split_at(words.unwrap_or(text.len()));
    let rest = trimmed(rest);
    if key.is_empty() {
        return rest.strip_prefix('!').is_some_and(|key| is_key(trimmed(key)));
    }
    is_key(key) && (rest.is_empty() || is_condition(rest))
}

/// Whether a text is an operator and what it takes.
fn is_condition(text: &str) -> bool {
    if let Some(value) = ["==", "!=", "="].iter().find_map(|operator| text.strip_prefix(operator)) {
        return is_value(trimmed(value));
    }
    if let Some(number) = text.strip_prefix(['<', '>']) {
        let number = trimmed(number);
        return is_value(number) && number.parse::<i64>().is_ok();
    }
    let values = ["notin", "in"].iter().find_map(|operator| text.strip_prefix(operator));
    let values = values.and_then(|values| trimmed(values).strip_prefix('(')?.strip_suffix(')'));
    values.is_some_and(|values| values.split(',').all(|value| is_value(trimmed(value))))
}

/// Whether a text is the key of a label: a name, with the name of a domain and a slash before it or not.
fn is_key(text: &str) -> bool {
    let (domain, name) = text.split_once('/').map_or((None, text), |(domain, name)| (Some(domain), name));
    let is_domain = |domain: &str| domain.len() <= 253 && domain.split('.').all(is_label);
    domain.is_none_or(is_domain) && !name.is_empty() && is_value(name)
}

/// Whether a text is a label of a domain name in lower case, but for its length.
pub(super) fn is_label(text: &str) -> bool {
    let is_inner = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
    let has_ends = !text.starts_with('-') && !text.ends_with('-');
    !text.is_empty() && text.chars().all(is_inner) && has_ends
}

/// Whether a text is the value of a label: at most 63 letters, digits, `-`, `_` and `.`, the first and last one a letter or digit.
fn is_value(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(is_inner)
        && ends(text.chars().next())
        && ends(text.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_those_of_kubectl() {
        for good in [
            "app",
            "!app",
            "! app",
            "app=shop",
            "app = shop",
            "app==shop",
            "app!=shop",
            "app=",
            "app in (shop)",
            "tier notin (a, b,c ),!old,app=shop",
            "app in (a,)",
            "kubernetes.io/metadata.name=kube-system",
            "n>5",
            "n < 10",
        ] {
            assert!(is_selector(good), "{good}");
        }
        for bad in [
            "",
            ",",
            "app=shop,",
            "app=a b",
            "app in a",
            "app in (a",
            "app in a)",
            "app is shop",
            "=shop",
            "!",
            "app=>x",
            "-app=x",
            "a/b/c=x",
            "x y",
            "n>a",
            "app=shop)",
            "inn(a)",
            "Example.com/app",
            "n>-5",
            "app\u{a0}=x",
        ] {
            assert!(!is_selector(bad), "{bad}");
        }
        assert!(!is_selector(&"a".repeat(64)) && is_selector(&"a".repeat(63)));
    }
}
