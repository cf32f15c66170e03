//! The times in a key's private file, which say what it is used for and when.

use time::{Date, Month, Time};

/// Times of a key, in seconds of Unix time; `None` where the file gives none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyTimes {
    /// From when on the DNSKEY is in the zone.
    pub publish: Option<u64>,
    /// From when on it signs.
    pub activate: Option<u64>,
    /// From when on it is revoked (RFC 5011).
    pub revoke: Option<u64>,
    /// From when on it signs no more.
    pub inactive: Option<u64>,
    /// From when on it is out of the zone.
    pub delete: Option<u64>,
    /// From when on CDS and CDNSKEY ask the parent for it (RFC 7344).
    pub sync_publish: Option<u64>,
    /// From when on they do not any more.
    pub sync_delete: Option<u64>,
}

impl KeyTimes {
    /// The time that a field of the file sets; `None` if it is no field of times that matter.
    pub(super) fn field(&mut self, name: &str) -> Option<&mut Option<u64>> {
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

    /// Whether the file says nothing of when the key is used: then it always is.
    fn are_silent(&self) -> bool {
        let Self { publish, activate, inactive, delete, revoke, .. } = self;
        [publish, activate, inactive, delete, revoke].into_iter().all(Option::is_none)
    }

    /// Whether the DNSKEY is in the zone.
    pub fn is_published(&self, now: u64) -> bool {
        self.are_silent() || came(self.publish.or(self.activate), now) && !came(self.delete, now)
    }

    /// Whether the key signs.
    pub fn is_active(&self, now: u64) -> bool {
        self.are_silent() || came(self.activate, now) && !came(self.inactive, now) && !came(self.delete, now)
    }

    /// Whether the key is revoked.
    pub fn is_revoked(&self, now: u64) -> bool {
        came(self.revoke, now)
    }

    /// Whether CDS and CDNSKEY name it; `None` if the file leaves that to the key's state.
    pub fn is_synced(&self, now: u64) -> Option<bool> {
        let said = self.sync_publish.is_some() || self.sync_delete.is_some();
        said.then(|| {
            let begun = self.sync_publish.is_none() || came(self.sync_publish, now);
            begun && !came(self.sync_delete, now)
        })
    }

    /// Every time at which something changes.
    pub(super) fn all(&self) -> impl Iterator<Item = u64> {
        let Self { publish, activate, revoke, inactive, delete, sync_publish, sync_delete } = *self;
        [publish, activate, revoke, inactive, delete, sync_publish, sync_delete].into_iter().flatten()
    }
}

fn came(time: Option<u64>, now: u64) -> bool {
    time.is_some_and(|time| time <= now)
}

/// Reads `YYYYMMDDHHMMSS`, UTC; a comment may follow.
pub(super) fn parse(text: &str) -> Option<u64> {
    let digits = text.split_whitespace().next().filter(|digits| digits.len() == 14 && digits.is_ascii())?;
    let part = |from: usize, to: usize| digits[from..to].parse::<u8>().ok();
    let year = digits[..4].parse().ok()?;
    let date = Date::from_calendar_date(year, Month::try_from(part(4, 6)?).ok()?, part(6, 8)?).ok()?;
    let time = Time::from_hms(part(8, 10)?, part(10, 12)?, part(12, 14)?).ok()?;
    u64::try_from(date.with_time(time).assume_utc().unix_timestamp()).ok()
}

/// Writes Unix time as `YYYYMMDDHHMMSS`, UTC.
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
        assert_eq!(KeyTimes { sync_delete: Some(5), ..times }.is_synced(4), Some(true));
        assert_eq!(KeyTimes { sync_delete: Some(5), ..times }.is_synced(5), Some(false));
        assert_eq!(times.is_synced(5), None);
    }
}
