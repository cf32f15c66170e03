//! The form of the generated texts.

use super::markup::{sentence, sentences, with_variables, wrap};
use super::*;
use crate::config::{STATISTICS, flags};

#[test]
fn help_names_every_flag_and_its_variable_in_short_lines() {
    let help = help();
    for setting in flags() {
        let name = format!("  -{} ", setting.name);
        let line = help.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("{name}"));
        assert!(setting.variables.first().is_none_or(|name| line.ends_with(&format!("[{name}]"))), "{line}");
    }
    assert!(STATISTICS.iter().all(|variable| help.contains(&format!("\n  {} ", variable.name))));
    for line in help.lines() {
        assert!(line.chars().count() <= 130, "{line}");
    }
}

#[test]
fn a_man_page_has_no_line_that_roff_takes_for_a_macro() {
    for page in ["man8", "man5"].map(|page| text(page).expect("a section")) {
        for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
            assert!(
                [".TP", ".br", ".SS ", ".B ", ".BI ", ".BR "].iter().any(|macro_| line.starts_with(macro_)),
                "{line}"
            );
        }
        assert!(!page.contains('`'));
    }
}

#[test]
fn texts_are_cut_and_wrapped() {
    assert_eq!(sentence("never forward"), "Never forward.");
    assert_eq!(sentences("A b. `c.d` e.").collect::<Vec<_>>(), ["A b.", "`c.d` e."]);
    assert_eq!(wrap("one two three", 7, "# "), "# one two\n# three\n");
    assert_eq!(with_variables("see `-addr`, `-x` and `keys`"), "see `SKYDNS_ADDR`, `-x` and `keys`");
    assert_eq!(text("nothing"), None);
}
