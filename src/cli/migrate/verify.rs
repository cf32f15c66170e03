//! Compares the answers of both APIs together with those of v3 alone, name by name and type by type.

use super::{Stores, say};
use crate::answer::{
    self, Dependencies, Externals, Freshness, Made, Outcome, Site, SiteFreshness, View, WORK_OF_ANSWER,
};
use crate::clock::steady_time;
use crate::config::{Config, NO, Spec, StoreBefore};
use crate::counted::counted;
use crate::heartbeat::Heartbeats;
use crate::service::Key;
use crate::source::etcd::migrate::MigrateError;
use crate::source::etcd::{Etcd, EtcdV2};
use crate::source::{Feed, Mirror, Published, Publisher, SourceId};
use crate::tree::{Tree, Work};
use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RecordType};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

/// The types that services give to names.
const TYPES: [RecordType; 8] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CNAME,
    RecordType::MX,
    RecordType::NS,
    RecordType::PTR,
    RecordType::SRV,
    RecordType::TXT,
];

/// Differences that are printed.
const MAX_PRINTED: usize = 1_000;

/// Prints each answer that would be another one without v2.
pub(super) async fn run(spec: &Spec, stores: &Stores) -> Result<ExitCode, MigrateError> {
    let (published, spec) = read(spec, stores).await?;
    let site = Config::without_host(&spec).site;
    let alone = published.tree_without(SourceId::EtcdV2);
    let names = names_of(&published, SourceId::EtcdV2);
    let mut differences = 0;
    for name in &names {
        for rtype in TYPES {
            let (both, v3) = (said(&site, &published.tree, name, rtype), said(&site, &alone, name, rtype));
            if both == v3 {
                continue;
            }
            differences += 1;
            if differences <= MAX_PRINTED {
                say(&format!("{name} {rtype}: {both}; v3 alone: {v3}"));
            }
        }
    }
    if differences > MAX_PRINTED {
        say(&format!("{} more are not printed", counted(differences - MAX_PRINTED, "difference")));
    }
    let of_v3 = names_of(&published, SourceId::Etcd);
    say(&format!(
        "{} of v2 compared: {}; {} of v3 alone",
        counted(names.len(), "name"),
        counted(differences, "difference"),
        counted(of_v3.difference(&names).count(), "name")
    ));
    Ok(if differences == 0 { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// Reads both stores, and applies the configuration that they hold.
async fn read(spec: &Spec, stores: &Stores) -> Result<(Arc<Published>, Spec), MigrateError> {
    let publisher = Publisher::new();
    publisher.set_site(&Config::without_host(spec).site);
    let sources = [(SourceId::EtcdV2, true), (SourceId::Etcd, true)];
    let mirror = Mirror::new(stores.keyspace.clone(), &sources, &publisher);
    let (feed, events) = Feed::channel();
    let heartbeat = Heartbeats::default().monitor("the mirror");
    let mirror = std::thread::spawn(move || mirror.run(events, heartbeat));
    let v2 = EtcdV2::new(stores.from.clone(), stores.keyspace.clone(), &stores.also, feed(SourceId::EtcdV2));
    let v3 = Etcd::new(stores.to.clone(), stores.keyspace.clone(), feed(SourceId::Etcd));
    drop(feed);
    v2.list_once().await.map_err(MigrateError::From)?;
    v3.list_once().await.map_err(MigrateError::To)?;
    // The mirror ends when the last feed is dropped.
    drop((v2, v3));
    let _ = tokio::task::spawn_blocking(move || mirror.join()).await;
    let stored = publisher.status().borrow().config();
    let spec = match stored {
        Some((_, json)) => spec.with_store(&stores.keyspace.config_key(), &json, StoreBefore::default()).spec,
        None => spec.clone(),
    };
    Ok((publisher.published().load_full(), spec))
}

/// All names that a source has services at or below.
fn names_of(published: &Published, id: SourceId) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    for key in published.keys_of(id) {
        let labels: Vec<_> = key.labels().collect();
        for depth in (1..=labels.len()).rev() {
            if !names.insert(Key::from_labels(labels[..depth].iter().copied()).name()) {
                break;
            }
        }
    }
    names
}

/// What is answered to a question, without TTLs: those of keys that end are never the same.
fn said(site: &Arc<Site>, tree: &Tree, name: &Name, rtype: RecordType) -> String {
    let mut externals = Externals::new();
    let answer = |externals: &Externals| {
        let view = View {
            site,
            tree,
            dependencies: &Dependencies::default(),
            freshness: &SiteFreshness::from(Freshness::Current),
            now: steady_time(),
            seed: 0,
            externals,
            made: &Made::default(),
            max_records: usize::from(u16::MAX),
            work: &Work::new(WORK_OF_ANSWER),
            forwards: true,
            dnssec: None,
        };
        answer::answer(&Query::query(name.clone(), rtype), &view)
    };
    let mut outcome = answer(&externals);
    // Names outside are the same for both.
    if let Outcome::Lookup(lookups) = outcome {
        lookups.into_iter().for_each(|lookup| externals.insert_failure(lookup));
        outcome = answer(&externals);
    }
    match outcome {
        Outcome::Answered(answer) => {
            let records: BTreeSet<_> = answer
                .answers
                .iter()
                .chain(&answer.additionals)
                .map(|record| format!("{} {} {}", record.name, record.record_type(), record.data))
                .collect();
            let records: Vec<_> = records.into_iter().collect();
            // The mnemonic, as dig prints it.
            let rcode = format!("{:?}", answer.rcode).to_uppercase();
            format!("{rcode} [{}]", records.join(", "))
        }
        Outcome::Forward | Outcome::ForwardExisting => "asks upstreams".to_owned(),
        Outcome::Lookup(_) => "depends on names outside".to_owned(),
    }
}
