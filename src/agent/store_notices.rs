//! What the store holds that nobody would look for: keys that nothing is answered from, and stub zones, by which whoever
//! writes below `dns/stub` gets the questions for other names.

use super::status::StatusNotes;
use crate::answer::{Freshness, Site};
use crate::config::Config;
use crate::forward::{Endpoint, StubKeys};
use crate::service::Keyspace;
use crate::source::{Published, Publisher, UnservedKeys};
use hickory_proto::rr::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lines about stub zones in each [`PERIOD`]; of more changes the number is logged.
const MAX_LINES: usize = 20;

/// Minimum time between two lines about unserved keys, and about refused entries that have no line of their own.
const PERIOD: Duration = Duration::from_secs(60);

/// Domains that are named in one line.
const MAX_NAMED_DOMAINS: usize = 3;

/// Servers that are named of one stub zone.
const MAX_NAMED_SERVERS: usize = 8;

/// Tells, once for each change, what is noticeable in the store.
pub(super) struct StoreNotices {
    publisher: Arc<Publisher>,
    notes: StatusNotes,
    /// The tree that was looked at last: which versions it has, and the latest.
    looked_at: Option<(usize, u64)>,
    unserved: Told<UnservedKeys>,
    stubs: BTreeMap<Name, StubNotice>,
    left_out: BTreeSet<StubNotice>,
    /// Refused entries that no line told of yet.
    unlogged: Told<u64>,
    /// When the present period of lines about stub zones began, and how many there were.
    lines: Option<(Instant, usize)>,
}

/// What was told last, and when.
#[derive(Default)]
struct Told<T> {
    value: Option<T>,
    /// When the next line may be logged.
    next: Option<Instant>,
}

/// A line about a stub zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StubNotice {
    /// Whether the zone or key is not what one would expect.
    pub is_warning: bool,
    /// One line of text.
    pub text: String,
}

impl StoreNotices {
    pub(super) fn new(publisher: Arc<Publisher>, notes: StatusNotes) -> Self {
        Self {
            publisher,
            notes,
            looked_at: None,
            unserved: Told { value: None, next: None },
            stubs: BTreeMap::new(),
            left_out: BTreeSet::new(),
            unlogged: Told::default(),
            lines: None,
        }
    }

    /// Makes the next look count, because the configuration has changed.
    pub(super) fn forget(&mut self) {
        self.looked_at = None;
    }

    /// Looks at the published tree, if it has changed, and tells what is new.
    pub(super) fn look(&mut self, config: &Config, keyspace: &Keyspace) {
        let now = Instant::now();
        if let Some(count) = self.take_unlogged(now) {
            log::warn!("{count} refused entries are not named in the log; skydns check names all");
        }
        let published = self.publisher.published().load_full();
        let versions = published.tree.versions().map_or(0, |versions| Arc::as_ptr(versions).addr());
        let tree = Some((versions, published.tree.version()));
        // Before the store was read, nothing is known of what it lacks.
        if self.looked_at == tree || published.freshness.outside() == Freshness::Incomplete {
            return;
        }
        if self.tell_unserved(published.unserved(&config.site), config, keyspace, now) {
            self.looked_at = tree;
        }
        self.tell_stubs(stub_notices(&published, config), now);
    }

    /// How many refused entries the log did not name since the last call, at most once in each [`PERIOD`].
    fn take_unlogged(&mut self, now: Instant) -> Option<u64> {
        let count = self.unlogged.value.unwrap_or(0) + self.publisher.refusals().take_unlogged();
        let waits = self.unlogged.next.is_some_and(|next| now < next);
        if count == 0 || waits {
            self.unlogged.value = Some(count);
            return None;
        }
        self.unlogged = Told { value: None, next: Some(now + PERIOD) };
        Some(count)
    }

    /// Tells which keys are not served; `false` if that has to wait.
    fn tell_unserved(
        &mut self,
        unserved: Option<UnservedKeys>,
        config: &Config,
        keyspace: &Keyspace,
        now: Instant,
    ) -> bool {
        if self.unserved.value == unserved {
            return true;
        }
        if self.unserved.next.is_some_and(|next| now < next) {
            return false;
        }
        let text = unserved.as_ref().map(|keys| unserved_text(keys, &config.site, keyspace));
        match &text {
            Some(text) => log::warn!("{text}"),
            None => log::info!("all keys are below {} now", domains_text(&config.site, "or")),
        }
        self.notes.set_unserved(text.as_deref());
        self.unserved = Told { value: unserved, next: Some(now + PERIOD) };
        true
    }

    fn tell_stubs(&mut self, (stubs, left_out): StubNotices, now: Instant) {
        let mut lines: Vec<StubNotice> = Vec::new();
        lines.extend(
            stubs
                .iter()
                .filter(|(zone, notice)| self.stubs.get(zone) != Some(notice))
                .map(|(_, n)| n.clone()),
        );
        let gone = self.stubs.keys().filter(|zone| !stubs.contains_key(zone));
        lines.extend(
            gone.map(|zone| StubNotice { is_warning: false, text: format!("stub zone {zone} is gone") }),
        );
        lines.extend(left_out.difference(&self.left_out).cloned());
        (self.stubs, self.left_out) = (stubs, left_out);
        let (began, told) = self.lines.filter(|(began, _)| now < *began + PERIOD).unwrap_or((now, 0));
        let few = lines.len().min(MAX_LINES - told.min(MAX_LINES));
        for StubNotice { is_warning, text } in &lines[..few] {
            log::log!(if *is_warning { log::Level::Warn } else { log::Level::Info }, "{text}");
        }
        if lines.len() > few && told <= MAX_LINES {
            log::warn!(
                "{} more changes of stub zones in the store are not named in the log; skydns check names all",
                lines.len() - few
            );
        }
        self.lines = Some((began, told + lines.len()));
    }
}

/// A line about keys that are not served.
pub fn unserved_text(keys: &UnservedKeys, site: &Site, keyspace: &Keyspace) -> String {
    let (count, first, domains) = (keys.count, keyspace.path(&keys.first), domains_text(site, "or"));
    let at_least = if keys.is_more { "at least " } else { "" };
    let are = if count == 1 { "key is" } else { "keys are" };
    format!(
        "{at_least}{count} {are} not below {domains}, so the services there are not served, such as {first}"
    )
}

/// The domains of a site, for a person: all if they are few. `last` stands before the last one.
pub(super) fn domains_text(site: &Site, last: &str) -> String {
    let named = site.zones.iter().take(MAX_NAMED_DOMAINS).map(|zone| zone.domain().to_ascii());
    let mut named: Vec<_> = named.collect();
    let count = site.zones.iter().len();
    if count > named.len() {
        named.push(format!("{} more", count - named.len()));
    }
    match named.split_last() {
        Some((only, [])) => only.clone(),
        Some((final_one, others)) => format!("{} {last} {final_one}", others.join(", ")),
        None => String::new(),
    }
}

/// The stub zones, and the keys that are left out.
type StubNotices = (BTreeMap<Name, StubNotice>, BTreeSet<StubNotice>);

/// What is to be told of the stub zones of a tree, if they are used.
pub fn stub_notices(published: &Published, config: &Config) -> StubNotices {
    if !config.forward.stub_zones {
        return StubNotices::default();
    }
    let StubKeys { zones, left_out } = StubKeys::read(&published.tree, &config.site);
    let stubs = zones.into_iter().map(|(zone, servers)| {
        let notice = stub_notice(&zone, &servers, &config.site);
        (zone, notice)
    });
    let left_out = left_out.into_iter().map(|(key, reason)| StubNotice {
        is_warning: true,
        text: format!("stub zone: {key} is left out: {reason}"),
    });
    (stubs.collect(), left_out.collect())
}

fn stub_notice(zone: &Name, servers: &[Endpoint], own: &Site) -> StubNotice {
    let mut named: Vec<_> = servers.iter().take(MAX_NAMED_SERVERS).map(ToString::to_string).collect();
    if servers.len() > named.len() {
        named.push(format!("{} more", servers.len() - named.len()));
    }
    let servers = named.join(", ");
    // Below the root there is nothing but zones below our own.
    let is_below = own.contains(zone);
    let is_above = own.zones.iter().any(|own| zone.zone_of(own.domain()));
    let (is_warning, what) = match (zone.num_labels(), is_above) {
        (_, true) => (true, " is above our own domain, and all other names below it go there"),
        _ if is_below => (true, " is below our own domain, and the names of the site below it go there"),
        (1, false) => (true, " is a top-level domain, and all names below it go there"),
        (_, false) => (false, ""),
    };
    StubNotice { is_warning, text: format!("stub zone {zone}: {servers} (from the store){what}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Zone;
    use crate::config::{HostIdentity, Spec};
    use crate::service::Key;
    use std::net::SocketAddr;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn servers(count: u8) -> Vec<Endpoint> {
        let address = |n: u8| SocketAddr::from(([192, 0, 2, n], 53));
        (1..=count).map(|n| Endpoint::classic(address(n))).collect()
    }

    #[test]
    fn stub_zones_of_more_than_one_label_are_no_warning() {
        let own = Site::new(Zone::new(&name("skydns.local.")));
        let of = |zone: &str, count| {
            let notice = stub_notice(&name(zone), &servers(count), &own);
            (notice.is_warning, notice.text)
        };
        assert_eq!(
            of("example.org.", 2),
            (false, "stub zone example.org.: 192.0.2.1:53, 192.0.2.2:53 (from the store)".to_owned())
        );
        let (is_warning, text) = of("com.", 1);
        assert!(
            is_warning && text.contains("com.: 192.0.2.1:53 (from the store) is a top-level domain"),
            "{text}"
        );
        let (is_warning, text) = of("local.", 1);
        assert!(is_warning && text.contains("is above our own domain"), "{text}");
        let (is_warning, text) = of("sub.skydns.local.", 1);
        assert!(is_warning && text.contains("is below our own domain"), "{text}");
        let root = Site::new(Zone::new(&Name::root()));
        assert!(!stub_notice(&name("example.org."), &servers(1), &root).is_warning);
        assert!(of("example.org.", 20).1.contains("192.0.2.8:53, 12 more"));
    }

    #[test]
    fn unserved_keys_are_told_once_for_each_change() {
        let config = Config::new(&Spec::default(), &HostIdentity::default()).expect("a configuration");
        let (keyspace, notes, start) = (Keyspace::new("skydns"), StatusNotes::default(), Instant::now());
        let mut notices = StoreNotices::new(Publisher::new(), notes.clone());
        let keys =
            |count| Some(UnservedKeys { count, is_more: false, first: Key::from_name(&name("a.com.")) });
        let mut tell = |keys, after| {
            let told = notices.tell_unserved(keys, &config, &keyspace, start + Duration::from_secs(after));
            (told, notes.texts().join(""))
        };
        let text = |count: &str| {
            format!(
                "{count} not below skydns.local., so the services there are not served, such as /skydns/com/a"
            )
        };
        assert_eq!(tell(None, 0), (true, String::new()));
        assert_eq!(tell(keys(1), 0), (true, text("1 key is")));
        assert_eq!(tell(keys(2), 59), (false, text("1 key is")), "not twice a minute");
        assert_eq!(tell(keys(2), 60), (true, text("2 keys are")));
        assert_eq!(tell(None, 120), (true, String::new()));
    }

    #[test]
    fn refused_entries_without_a_line_are_counted_once_in_a_while() {
        let publisher = Publisher::new();
        let mut notices = StoreNotices::new(Arc::clone(&publisher), StatusNotes::default());
        let (refusals, start) = (publisher.refusals(), Instant::now());
        let mut after = |seconds| notices.take_unlogged(start + Duration::from_secs(seconds));
        assert_eq!(after(0), None);
        (0..7).for_each(|_| refusals.count_unlogged());
        assert_eq!(after(2), Some(7));
        (0..3).for_each(|_| refusals.count_unlogged());
        assert_eq!(after(4), None);
        refusals.count_unlogged();
        assert_eq!(after(61), None);
        assert_eq!(after(62), Some(4));
        assert_eq!(after(200), None);
    }

    #[test]
    fn many_stub_zones_are_told_by_their_number() {
        let mut notices = StoreNotices::new(Publisher::new(), StatusNotes::default());
        let zones = |count: usize| {
            let notice = |n: usize| StubNotice { is_warning: false, text: n.to_string() };
            let stubs = (0..count).map(|n| (name(&format!("z{n}.example.")), notice(n)));
            (stubs.collect(), BTreeSet::new())
        };
        let now = Instant::now();
        notices.tell_stubs(zones(5), now);
        assert_eq!(notices.lines, Some((now, 5)));
        notices.tell_stubs(zones(5), now);
        assert_eq!(notices.lines, Some((now, 5)), "nothing is new");
        notices.tell_stubs(zones(100), now);
        notices.tell_stubs(zones(0), now);
        assert_eq!(notices.lines, Some((now, 200)));
        notices.tell_stubs(zones(3), now + PERIOD);
        assert_eq!(notices.lines, Some((now + PERIOD, 3)));
    }
}
