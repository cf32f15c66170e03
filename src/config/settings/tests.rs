//! The table against what the program does: defaults, examples, names and the form of texts.

use super::*;
use crate::metrics::{MetricNames, StatisticsSink};
use std::collections::BTreeSet;

/// The default settings with one value set.
fn with(setting: &Setting, value: &str) -> Result<Spec, SettingError> {
    let mut spec = Spec::default();
    (setting.set)(&mut spec, SettingInput::Text(value), &SettingOrigin::Default)?;
    Ok(spec)
}

#[test]
fn every_default_shown_is_the_default() {
    for setting in flags() {
        match setting.default {
            DefaultValue::Value(value) => {
                assert_eq!(with(setting, value), Ok(Spec::default()), "-{}", setting.name);
            }
            DefaultValue::Unset(_) if setting.name == "workers" => assert_eq!(Spec::default().workers, None),
            DefaultValue::Unset(_) => assert_eq!(with(setting, ""), Ok(Spec::default()), "-{}", setting.name),
        }
    }
}

#[test]
fn every_example_can_be_used_and_differs_from_the_default() {
    let without_effect = ["netlookup"];
    for setting in flags() {
        let spec =
            with(setting, setting.example).unwrap_or_else(|error| panic!("-{}: {error}", setting.name));
        assert_eq!(spec == Spec::default(), without_effect.contains(&setting.name), "-{}", setting.name);
    }
}

#[test]
fn every_default_of_statistics_is_the_default() {
    let names = MetricNames::default();
    for (name, value) in
        [("PROMETHEUS_NAMESPACE", names.namespace), ("PROMETHEUS_SUBSYSTEM", names.subsystem)]
    {
        let variable = STATISTICS.iter().find(|variable| variable.name == name).expect(name);
        assert!(matches!(variable.default, DefaultValue::Value(shown) if shown == value), "{name}");
    }
    // The sinks with their defaults are those with the defaults given as values.
    let sinks = |with_defaults: bool| {
        StatisticsSink::from_variables(|name| {
            let variable = STATISTICS.iter().find(|variable| variable.name == name);
            match variable.unwrap_or_else(|| panic!("{name}")).default {
                DefaultValue::Value(value) => with_defaults.then(|| value.to_owned()),
                DefaultValue::Unset(_) => name.ends_with("_SERVER").then(|| "host:1".to_owned()),
            }
        })
    };
    assert_eq!(sinks(true), sinks(false));
    assert_eq!(sinks(true).len(), 2);
}

#[test]
fn no_name_is_in_two_rows() {
    let mut names = BTreeSet::new();
    for setting in flags() {
        assert!(names.insert(format!("-{}", setting.name)), "-{}", setting.name);
        for name in setting.variables.iter().chain(setting.keys) {
            assert!(names.insert((*name).to_owned()), "{name}");
        }
    }
    assert!(STATISTICS.iter().all(|variable| names.insert(variable.name.to_owned())));
}

#[test]
fn texts_have_the_form_that_documents_need() {
    let settings = flags().map(|setting| (setting.name, setting.summary, setting.details));
    let statistics = STATISTICS.iter().map(|variable| (variable.name, variable.summary, variable.details));
    for (name, summary, details) in settings.chain(statistics) {
        assert!(!summary.is_empty() && !summary.ends_with('.') && summary.len() < 90, "{name}: {summary}");
        assert!(details.is_empty() || details.ends_with('.'), "{name}: {details}");
        assert!(!details.contains("  "), "{name}: {details}");
        for text in [summary, details] {
            assert_eq!(text.matches('`').count() % 2, 0, "{name}: {text}");
        }
    }
}

#[test]
fn a_hidden_path_is_the_path_of_a_key() {
    let v2_also = flags().find(|setting| setting.name == "v2-also").expect("a setting");
    let also = with(v2_also, "/skydns/local/_tcp/, local/x/_udp").map(|spec| spec.v2_also);
    assert_eq!(also, Ok(vec!["/skydns/local/_tcp".to_owned(), "local/x/_udp".to_owned()]));
    for path in ["/skydns//_tcp", "../_tcp", "local/./_tcp", "//_tcp", "/local/_tcp/.."] {
        let refused = with(v2_also, path);
        assert_eq!(refused, Err(SettingError::StorePath(path.to_owned())), "{path}");
    }
    assert!(matches!(with(v2_also, "/local/a"), Err(SettingError::NotHidden(_))));
}
