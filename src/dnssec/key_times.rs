//! The times in a key's private file: from when to when the key is published, signs, and is announced to the parent.
//!
//! The fields are those of BIND's dnssec-keygen and dnssec-settime.

use time::{Date, Month, Time};

/// Times of a key, in seconds of Unix time; `None` where the file gives none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyTimes {
    /// From when on the DNSKEY is in the zone.
    pub publish: Option<u64>,
    /// From when on the key signs.
    pub activate: Option<u64>,
    /// From when on the key is revoked (RFC 5011).
    pub revoke: Option<u64>,
    /// From when on the key signs no more.
    pub inactive: Option<u64>,
    /// From when on the DNSKEY is no longer in the zone.
    pub delete: Option<u64>,
    /// From when on CDS and CDNSKEY name the key, so that the parent adds a DS (RFC 7344).
    pub sync_publish: Option<u64>,
    /// From when on CDS and CDNSKEY name the key no longer.
    pub sync_delete: Option<u64>,
}

impl KeyTimes {
    /// The time that a field of the file sets; `None` if the field holds no time that matters here.
    pub(super) fn field_mut(&mut self, name: &str) -> Option<&mut Option<u64>> {
        Some(match name {
            "Publish" => &mut self.publish,
            "Activate" => &mut self.activate,
            "Revoke" => &mut self.revoke,
            "Inactive" => &mut self.inactive,
            "Delete" => &mut self.delete,
            "SyncPublish" => &mut self.sync_publish,
            "SyncDelete" => &mut self.sync_delete,
            _ => return None,
        })
    }

    /// Whether the file gives no time of the key's use: then the key is always published and always signs.
    fn leave_use_open(&self) -> bool {
        let Self { publish, activate, inactive, delete, revoke, .. } = self;
        [publish, activate, inactive, delete, revoke].into_iter().all(Option::is_none)
    }

    /// Whether the DNSKEY is in the zone.
    pub fn is_published(&self, now: u64) -> bool {
        self.leave_use_open()
            || is_reached(self.publish.or(self.activate), now) && !is_reached(self.delete, now)
    }

    /// Whether the key signs.
    pub fn is_active(&self, now: u64) -> bool {
        self.leave_use_open()
            || is_reached(self.activate, now)
                && !is_reached(self.inactive, now)
                && !is_reached(self.delete, now)
    }

    /// Whether the key is revoked.
    pub fn is_revoked(&self, now: u64) -> bool {
        is_reached(self.revoke, now)
    }

    /// Whether CDS and CDNSKEY name the key; `None` if the file gives no time for that.
    pub fn is_in_cds(&self, now: u64) -> Option<bool> {
        let has_times = self.sync_publish.is_some() || self.sync_delete.is_some();
        has_times.then(|| {
            let begun = self.sync_publish.is_none() || is_reached(self.sync_publish, now);
            begun && !is_reached(self.sync_delete, now)
        })
    }

    /// Every time at which the use of the key changes, in no order.
    pub(super) fn changes(&self) -> impl Iterator<Item = u64> {
        let Self { publish, activate, revoke, inactive, delete, sync_publish, sync_delete } = *self;
        [publish, activate, revoke, inactive, delete, sync_publish, sync_delete].into_iter().flatten()
    }
}

/// Whether a time is given and has come.
fn is_reached(time: Option<u64>, now: u64) -> bool {
    time.is_some_and(|time| time <= now)
}

/// Reads `YYYYMMDDHHMMSS`, UTC, into Unix time; a comment may follow. `None` if the text is no time from 1970 on.
pub(super) fn parse(text: &str) -> Option<u64> {
    let digits = text.split_whitespace().next().filter(|digits| digits.len() == 14 && digits.is_ascii())?;
    let part = |from: usize, to: usize| digits[from..to].parse::<u8>().ok();
    let year = digits[..4].parse().ok()?;
    let date = Date::from_calendar_date(year, Month::try_from(part(4, 6)?).ok()?, part(6, 8)?).ok()?;
    let time = Time::from_hms(part(8, 10)?, part(10, 12)?, part(12, 14)?).ok()?;
    u64::try_from(date.with_time(time).assume_utc().unix_timestamp()).ok()
}

/// Writes Unix time as `YYYYMMDDHHMMSS`, UTC. A time that no calendar has becomes 1970.
pub(super) fn write(unix: u64) -> String {
    let at = i64::try_from(unix).ok().and_then(|unix| time::OffsetDateTime::from_unix_timestamp(unix).ok());
    let at = at.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        assert_eq!(parse("20260201123456"), Some(1_769_949_296));
        assert_eq!(parse("19700101000001 (Thu Jan  1 00:00:01 1970)"), Some(1));
        assert_eq!(write(1_769_949_296), "20260201123456");
        for wrong in [
            "",
            "2026",
            "20261301000000",
            "20260230000000",
            "2026020112345x",
            "20260201123460",
            "é0260201123456",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_is_used_as_its_times_say() {
        let state = |times: &KeyTimes, now| (times.is_published(now), times.is_active(now));
        assert_eq!(state(&KeyTimes::default(), 0), (true, true), "no times: always");
        let times = KeyTimes {
            publish: Some(10),
            activate: Some(20),
            inactive: Some(30),
            delete: Some(40),
            ..KeyTimes::default()
        };
        let expected =
            [(9, false, false), (10, true, false), (20, true, true), (30, true, false), (40, false, false)];
        for (now, published, active) in expected {
            assert_eq!(state(&times, now), (published, active), "{now}");
        }
        let standby = KeyTimes { publish: Some(0), ..KeyTimes::default() };
        assert_eq!(state(&standby, 5), (true, false), "published only");
        // For a new algorithm the signatures come before the key (RFC 6781 §4.1.4).
        let early = KeyTimes { publish: Some(20), activate: Some(10), ..KeyTimes::default() };
        assert_eq!(state(&early, 15), (false, true));
        assert_eq!(KeyTimes { sync_delete: Some(5), ..times }.is_in_cds(4), Some(true));
        assert_eq!(KeyTimes { sync_delete: Some(5), ..times }.is_in_cds(5), Some(false));
        assert_eq!(times.is_in_cds(5), None);
    }
}
