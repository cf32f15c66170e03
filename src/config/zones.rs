//! Settings of single zones: the object `zones` of the configuration, and lists of zones in other settings.
//!
//! What a zone does not set, the site's setting does.

use super::domains;
use super::input::{SettingError, SettingInput};
use super::local;
use super::settings::{mailbox, positive};
use super::spec::{MAX_TTL_SETTING, Spec};
use crate::answer::{MassHold, Mode};
use crate::shown::quoted;
use hickory_proto::rr::Name;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest time that a deletion waits: what is gone is served for as long.
const MAX_HOLD: Duration = Duration::from_secs(60);

/// Longest time that names are served on of which many were deleted.
const MAX_MASS_HOLD: Duration = Duration::from_secs(24 * 60 * 60);

/// The setting whose value is such an object.
pub(super) const ZONES: &str = "zones";

/// The settings of one zone; `None` where that of the site counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneSpec {
    /// Which keys are the data of a name.
    pub mode: Option<Mode>,
    /// Whether upstreams are asked for names that the zone does not have.
    pub fallthrough: Option<bool>,
    /// Whether addresses of its services have PTR records.
    pub auto_ptr: Option<bool>,
    /// TTL of services without one, in seconds; as for the site, 0 is none.
    pub ttl: Option<u32>,
    /// TTL of negative answers, in seconds.
    pub min_ttl: Option<u32>,
    /// RNAME of the SOA record.
    pub hostmaster: Option<Name>,
    /// Template of the host's own name in the zone.
    pub local: Option<String>,
    /// How long a deletion waits that leaves a name or a type empty.
    pub hold_deletions: Option<Duration>,
    /// When the deletion of many names is held back.
    pub hold_mass_deletion: Option<MassHold>,
}

/// Zones that a setting is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneList {
    /// All zones.
    All,
    /// These, in lower case.
    Only(Vec<Name>),
}

impl Default for ZoneList {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl ZoneList {
    /// Reads a list of domains, or `all`.
    pub(super) fn read(input: SettingInput<'_>) -> Result<Self, SettingError> {
        match input.list()?.as_slice() {
            ["all"] => Ok(Self::All),
            items => domains::zones(items).map(Self::Only),
        }
    }

    /// Whether a zone is one of them.
    pub fn contains(&self, zone: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Only(zones) => zones.contains(zone),
        }
    }

    /// The zones that are named.
    pub(super) fn named(&self) -> &[Name] {
        match self {
            Self::All => &[],
            Self::Only(zones) => zones,
        }
    }
}

/// A part of the object that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ZoneProblem {
    /// What is wrong, with the zone and the field.
    pub(super) reason: String,
    /// The value that is used instead, as JSON, if there is one.
    pub(super) instead: Option<String>,
}

/// Sets one field of a zone.
type SetField = fn(&mut ZoneSpec, SettingInput<'_>) -> Result<(), SettingError>;

/// The fields of a zone.
const FIELDS: [(&str, SetField); 9] = [
    ("mode", |zone, input| {
        zone.mode = Some(match input.text()? {
            "subtree" => Mode::Subtree,
            "exact" => Mode::Exact,
            found => {
                return Err(SettingError::Choice { found: found.to_owned(), expected: "subtree or exact" });
            }
        });
        Ok(())
    }),
    ("fallthrough", |zone, input| input.boolean().map(|value| zone.fallthrough = Some(value))),
    ("auto_ptr", |zone, input| input.boolean().map(|value| zone.auto_ptr = Some(value))),
    ("ttl", |zone, input| {
        zone.ttl = Some(positive(input.integer(0, MAX_TTL_SETTING)?, 0)).filter(|ttl| *ttl > 0);
        Ok(())
    }),
    ("min_ttl", |zone, input| {
        zone.min_ttl = Some(positive(input.integer(0, MAX_TTL_SETTING)?, 0)).filter(|ttl| *ttl > 0);
        Ok(())
    }),
    ("hostmaster", |zone, input| {
        zone.hostmaster = mailbox(input.text()?)?;
        Ok(())
    }),
    ("local", |zone, input| {
        let template = input.text()?;
        local::check(template).map_err(SettingError::Template)?;
        zone.local = Some(template.to_owned());
        Ok(())
    }),
    ("hold_deletions", |zone, input| {
        zone.hold_deletions = Some(hold_deletions(input)?);
        Ok(())
    }),
    ("hold_mass_deletion", |zone, input| {
        zone.hold_mass_deletion = Some(hold_mass_deletion(input)?);
        Ok(())
    }),
];

/// How long a deletion waits.
pub(super) fn hold_deletions(input: SettingInput<'_>) -> Result<Duration, SettingError> {
    let is_off = input.text().is_ok_and(|text| text == "off");
    // Of a number nobody could tell whether it is one of milliseconds: unlike SkyDNS's own settings, this one takes none.
    let has_unit = !matches!(input, SettingInput::Json(Value::Number(number)) if number.as_u64() != Some(0));
    let duration = match is_off {
        true => Duration::ZERO,
        false if has_unit => input.duration()?,
        false => return Err(input.wrong("a duration with a unit, such as \"100ms\", or off")),
    };
    if duration > MAX_HOLD {
        return Err(SettingError::LongHold(MAX_HOLD));
    }
    Ok(duration)
}

/// When the deletion of many names is held back: a share and a time, or neither.
pub(super) fn hold_mass_deletion(input: SettingInput<'_>) -> Result<MassHold, SettingError> {
    let text = input.text()?;
    if matches!(text, "" | "0" | "off") {
        return Ok(MassHold::default());
    }
    let wrong = || input.wrong("a share from 1% to 99% and a duration, such as \"30%,5m\", or off");
    let (share, time) = text.split_once(',').ok_or_else(wrong)?;
    let percent = share.trim().strip_suffix('%').and_then(|share| share.parse().ok());
    let percent = percent.filter(|percent| (1..=99).contains(percent)).ok_or_else(wrong)?;
    let time = SettingInput::Text(time.trim()).duration().map_err(|_| wrong())?;
    match time {
        Duration::ZERO => Ok(MassHold::default()),
        time if time > MAX_MASS_HOLD => Err(SettingError::LongHold(MAX_MASS_HOLD)),
        time => Ok(MassHold { percent, time }),
    }
}

/// Sets a field, by its name in any letter case and with `-` for `_`.
fn set_field(zone: &mut ZoneSpec, name: &str, value: &Value) -> Result<(), String> {
    let wanted = name.to_ascii_lowercase().replace('-', "_");
    let Some((_, set)) = FIELDS.iter().find(|(known, _)| *known == wanted) else {
        let known: Vec<_> = FIELDS.iter().map(|(known, _)| *known).collect();
        return Err(format!("no setting of a zone has this name; there are {}", known.join(", ")));
    };
    set(zone, SettingInput::Json(value)).map_err(|error| error.to_string())
}

/// Reads the object `zones`.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn read(input: SettingInput<'_>) -> Result<BTreeMap<Name, ZoneSpec>, SettingError> {
    let parsed;
    let value = match input {
        SettingInput::Json(value) => value,
        SettingInput::Text("") => return Ok(BTreeMap::new()),
        SettingInput::Text(text) => {
            parsed = serde_json::from_str(text).map_err(|error| SettingError::Zones(error.to_string()))?;
            &parsed
        }
    };
    let Value::Object(zones) = value else {
        return Err(SettingError::Zones("it is no JSON object with a domain for each field".to_owned()));
    };
    let mut specs = BTreeMap::new();
    let (_, problems) = repaired_zones(zones, None, &mut specs);
    match problems.into_iter().next() {
        Some(problem) => Err(SettingError::Zones(problem.reason)),
        None => Ok(specs),
    }
}

/// The object without what cannot be used, and why that cannot. In its place is what the last object that could be used has.
pub(super) fn repaired(value: Value, last: Option<&Value>) -> (Value, Vec<ZoneProblem>) {
    match value {
        Value::Object(zones) => {
            let (zones, problems) = repaired_zones(&zones, last, &mut BTreeMap::new());
            (Value::Object(zones), problems)
        }
        other => (other, Vec::new()),
    }
}

fn repaired_zones(
    zones: &Map<String, Value>,
    last: Option<&Value>,
    specs: &mut BTreeMap<Name, ZoneSpec>,
) -> (Map<String, Value>, Vec<ZoneProblem>) {
    let (mut repaired, mut problems) = (Map::new(), Vec::new());
    for (text, fields) in zones {
        let shown = quoted(text);
        let names = match domains::zones_of(text) {
            Ok(names) if !names.is_empty() => names,
            Ok(_) => {
                problems.push(ZoneProblem { reason: "a zone has no name".to_owned(), instead: None });
                continue;
            }
            Err(error) => {
                problems.push(ZoneProblem { reason: error.to_string(), instead: None });
                continue;
            }
        };
        if let Some(twice) = names.iter().find(|name| specs.contains_key(*name)) {
            let reason = format!("zone {shown}: there are settings of {twice} in another field");
            problems.push(ZoneProblem { reason, instead: None });
            continue;
        }
        let last = last.and_then(|last| last.get(text));
        let Value::Object(fields) = fields else {
            let reason = format!("zone {shown}: its settings are no JSON object");
            problems.push(ZoneProblem { reason, instead: last.map(Value::to_string) });
            repaired.extend(last.map(|last| (text.clone(), last.clone())));
            continue;
        };
        let (mut spec, mut kept) = (ZoneSpec::default(), Map::new());
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let Err(reason) = set_field(&mut spec, name, value) else {
                kept.insert(name.clone(), value.clone());
                continue;
            };
            let reason = format!("zone {shown}: field \"{}\": {reason}", quoted(name));
            let last =
                last.and_then(|last| last.get(name)).filter(|last| set_field(&mut spec, name, last).is_ok());
            problems.push(ZoneProblem { reason, instead: last.map(Value::to_string) });
            kept.extend(last.map(|last| (name.clone(), last.clone())));
        }
        specs.extend(names.into_iter().map(|name| (name, spec.clone())));
        repaired.insert(text.clone(), Value::Object(kept));
    }
    (repaired, problems)
}

impl Spec {
    /// The settings of a zone.
    pub(super) fn zone(&self, zone: &Name) -> ZoneSpec {
        let own = self.zones.get(zone).cloned().unwrap_or_default();
        let mode = if self.exact.contains(zone) { Mode::Exact } else { Mode::Subtree };
        ZoneSpec {
            mode: own.mode.or(Some(mode)),
            fallthrough: own.fallthrough.or(Some(self.fallthrough.contains(zone))),
            auto_ptr: own.auto_ptr.or(Some(self.auto_ptr.contains(zone))),
            ttl: own.ttl.or(Some(self.ttl)),
            min_ttl: own.min_ttl.or(Some(self.min_ttl)),
            hostmaster: own.hostmaster.or_else(|| self.hostmaster.clone()),
            local: own.local.or_else(|| self.local.clone()),
            hold_deletions: own.hold_deletions.or(Some(self.hold_deletions)),
            hold_mass_deletion: own.hold_mass_deletion.or(Some(self.hold_mass_deletion)),
        }
    }

    /// Says which settings are for zones that are not served.
    pub(super) fn settings_of_other_zones(&self) -> Vec<String> {
        let served = self.domains();
        let of_zones: Vec<_> = self.zones.keys().collect();
        let lists = [
            ("zones", of_zones),
            ("exact", self.exact.named().iter().collect()),
            ("fallthrough", self.fallthrough.named().iter().collect()),
            ("auto-ptr", self.auto_ptr.named().iter().collect()),
        ];
        let mut told = Vec::new();
        for (flag, zones) in lists {
            for zone in zones.into_iter().filter(|zone| !served.contains(zone)) {
                told.push(format!("-{flag} is for {zone}, which is no domain of -domain (SKYDNS_DOMAIN)"));
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn json(text: &str) -> Value {
        serde_json::from_str(text).expect(text)
    }

    #[test]
    fn a_zone_sets_what_it_sets_and_the_site_the_rest() {
        let text = r#"{"site.example": {"mode": "exact", "TTL": 60, "min-ttl": 5, "hostmaster": "a@b.example"},
                       "10.0.0.0/8": {"fallthrough": true, "local": "{hostname}.x", "ttl": null}}"#;
        let zones = read(SettingInput::Text(text)).expect("zones");
        let spec =
            Spec { zones, ttl: 7, exact: ZoneList::Only(vec![name("other.example.")]), ..Spec::default() };
        let site = spec.zone(&name("site.example."));
        assert_eq!((site.mode, site.ttl, site.min_ttl), (Some(Mode::Exact), Some(60), Some(5)));
        assert_eq!((site.fallthrough, site.hostmaster), (Some(false), Some(name("a.b.example."))));
        let reverse = spec.zone(&name("10.in-addr.arpa."));
        assert_eq!((reverse.fallthrough, reverse.ttl), (Some(true), Some(7)));
        assert_eq!(reverse.local.as_deref(), Some("{hostname}.x"));
        assert_eq!(spec.zone(&name("other.example.")).mode, Some(Mode::Exact));
    }

    #[test]
    fn the_deletion_of_many_names_has_a_share_and_a_time() {
        let of = |text| hold_mass_deletion(SettingInput::Text(text));
        let hold = |percent, seconds| Ok(MassHold { percent, time: Duration::from_secs(seconds) });
        assert_eq!((of("30%,5m"), of(" 1% , 24h")), (hold(30, 300), hold(1, 86_400)));
        for off in ["", "0", "off", "30%,0"] {
            assert_eq!(of(off), Ok(MassHold::default()), "{off}");
        }
        for wrong in [
            "30%", "30,5m", "0%,5m", "100%,5m", "-1%,5m", "30%,5", "30%,-5m", "5m,30%", "30.5%,5m", "1%,2m,3",
        ] {
            let told = of(wrong).expect_err(wrong).to_string();
            assert!(
                told.contains("is not a share from 1% to 99% and a duration, such as \"30%,5m\""),
                "{told}"
            );
        }
        assert!(of("30%,25h").expect_err("too long").to_string().contains("86400s"));
        let zones =
            read(SettingInput::Text(r#"{"a.example": {"hold_mass_deletion": "off"}}"#)).expect("zones");
        let site = MassHold { percent: 9, time: Duration::from_secs(1) };
        let spec = Spec { zones, hold_mass_deletion: site, ..Spec::default() };
        assert_eq!(spec.zone(&name("a.example.")).hold_mass_deletion, Some(MassHold::default()));
        assert_eq!(spec.zone(&name("b.example.")).hold_mass_deletion, Some(site));
    }

    #[test]
    fn what_is_wrong_costs_itself_alone() {
        let value = json(
            r#"{"a.example": {"ttl": "x", "mode": "exact", "colour": 1}, "a..b": {}, "c.example": 5,
                "d.example": {"mode": "round"}}"#,
        );
        let last =
            json(r#"{"a.example": {"ttl": 9}, "c.example": {"ttl": 8}, "d.example": {"mode": "square"}}"#);
        let (repaired, problems) = repaired(value, Some(&last));
        assert_eq!(
            repaired,
            json(r#"{"a.example": {"ttl": 9, "mode": "exact"}, "c.example": {"ttl": 8}, "d.example": {}}"#)
        );
        let told: Vec<_> =
            problems.iter().map(|problem| (problem.reason.as_str(), problem.instead.as_deref())).collect();
        assert_eq!(
            told,
            [
                ("\"a..b\" is not a domain name", None),
                (
                    "zone a.example: field \"colour\": no setting of a zone has this name; there are mode, fallthrough, \
                     auto_ptr, ttl, min_ttl, hostmaster, local, hold_deletions, hold_mass_deletion",
                    None
                ),
                ("zone a.example: field \"ttl\": \"x\" is not a whole number", Some("9")),
                ("zone c.example: its settings are no JSON object", Some("{\"ttl\":8}")),
                ("zone d.example: field \"mode\": \"round\" is not subtree or exact", None),
            ]
        );
        assert!(read(SettingInput::Text("{")).is_err() && read(SettingInput::Text("[]")).is_err());
        assert!(read(SettingInput::Text(r#"{"x":{"ttl":-1}}"#)).is_err());
    }

    #[test]
    fn a_zone_has_settings_once_and_0_is_none() {
        let value = serde_json::json!({
            "EX.example.": {"ttl": 41}, "ex.example": {"ttl": 42}, "10.0.0.0/8": {"ttl": 0, "min_ttl": 0},
        });
        let (repaired, problems) = repaired(value, None);
        let reasons: Vec<_> = problems.iter().map(|problem| &*problem.reason).collect();
        assert_eq!(reasons, ["zone ex.example: there are settings of ex.example. in another field"]);
        let specs = read(SettingInput::Json(&repaired)).expect("zones");
        assert_eq!(
            specs.values().map(|zone| (zone.ttl, zone.min_ttl)).collect::<Vec<_>>(),
            [(None, None), (Some(41), None)]
        );
    }

    #[test]
    fn a_time_to_hold_has_a_unit() {
        let of = |json: &str| hold_deletions(SettingInput::Json(&serde_json::from_str(json).expect("JSON")));
        assert_eq!(of(r#""250ms""#), Ok(Duration::from_millis(250)));
        for off in ["0", r#""0""#, r#""off""#] {
            assert_eq!(of(off), Ok(Duration::ZERO), "{off}");
        }
        for wrong in ["100", r#""100""#, "-1", "true"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert!(of("100").expect_err("no unit").to_string().contains("a duration with a unit"));
    }
}
