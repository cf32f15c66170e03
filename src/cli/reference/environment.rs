//! The file of variables of the package, `/etc/default/skydns`: all variables, none of them set.

use super::markup::{plain, sentence, with_variables, wrap};
use crate::config::{DefaultValue, NAMES_OF_FILES, SETTING_GROUPS, STATISTICS, Setting, TakesEffect};

/// Columns of a comment, beside its "# ".
const COMMENT_WIDTH: usize = 108;

/// What the file says before the first variable.
const FILE_HEAD: &str = "\
# Variables of skydns.service: /etc/default/skydns
#
# Leave this file as it is, and set variables in /etc/skydns/skydns.conf.d/10-site.conf or another file with that
# ending: it has the same lines, it wins over this file, and no upgrade of the package asks about it.
#
# Every variable below is a comment, which sets nothing. Its line shows the default, or an example if there is
# no default value. man 5 skydns says more about each of them.
#
#   systemctl reload skydns     reads the files again, and fails if a value is refused; some need a restart
#   skydns check                finds mistakes in the files and in all records
#
# Each line is NAME=value, as for EnvironmentFile= in systemd.exec(5). Nothing is expanded. Items of a list have
# commas between them. A variable that is set to nothing counts as not set. Every flag has a variable.
#
# Flags override these variables, and the key /skydns/config of the store overrides both.
#
# A file name without a slash is first looked for in /etc/skydns/keys.
#
# The user skydns must be able to read the files. For one that holds a password:
#   install -m 640 -g skydns /dev/null /etc/skydns/skydns.conf.d/20-password.conf
";

/// The whole file.
pub(super) fn file() -> String {
    let mut file = String::from(FILE_HEAD);
    for group in &SETTING_GROUPS {
        let settings = group
            .settings
            .iter()
            .filter(|setting| setting.variables.iter().any(|name| !NAMES_OF_FILES.contains(name)));
        let variables: String = settings.map(setting).collect();
        if !variables.is_empty() {
            file.push_str(&format!("\n## {}\n{variables}", group.title));
        }
    }
    file.push_str("\n## Statistics. A change of these variables needs a restart.\n");
    for variable in &STATISTICS {
        let comment = comment(variable.summary, variable.default);
        file.push_str(&assignment(&comment, variable.name, sample(variable.default, variable.example)));
    }
    file
}

fn setting(setting: &Setting) -> String {
    let mut text = comment(setting.summary, setting.default);
    if setting.takes_effect == TakesEffect::Restart {
        text.push_str(" A change needs a restart.");
    }
    let sample = sample(setting.default, setting.example);
    let mut lines = String::new();
    let mut before: Option<&str> = None;
    for name in setting.variables {
        let text =
            before.map_or_else(|| text.clone(), |before| format!("The same, used if {before} is not set."));
        lines.push_str(&assignment(&text, name, sample));
        before = Some(name);
    }
    lines
}

fn comment(summary: &str, default: DefaultValue) -> String {
    let summary = sentence(&with_variables(summary));
    plain(&match default {
        DefaultValue::Value(_) => summary,
        DefaultValue::Unset(text) => format!("{summary} Default: {}.", with_variables(text)),
    })
}

/// The default, or else the example.
fn sample(default: DefaultValue, example: &'static str) -> &'static str {
    match default {
        DefaultValue::Value(value) => value,
        DefaultValue::Unset(_) => example,
    }
}

fn assignment(comment: &str, name: &str, value: &str) -> String {
    format!("\n{}#{name}={value}\n", wrap(comment, COMMENT_WIDTH, "# "))
}
