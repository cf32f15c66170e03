//! etcd (v3 API) as a source: one listing at one revision, then the watch from there on.
//!
//! A session talks to one endpoint. Any error ends the session, and the next session begins at the next endpoint with
//! a new listing, of which the mirror applies the difference. Everything that waits for the network has a deadline,
//! and keep-alives notice a server that froze.

mod cause;
mod choice;
mod clusters;
mod connect;
mod error;
mod leases;
pub mod migrate;
mod rounds;
mod session;
mod survey;
mod tls_files;
mod v2;

pub use choice::{BothApis, UseOfV2};
pub use connect::EtcdSettings;
pub use error::EtcdError;
pub use tls_files::TlsFiles;
pub use v2::EtcdV2;

use crate::service::Keyspace;
use crate::source::event::Event;
use crate::source::feed::{Closed, Feed};
use choice::is_v3_absent;
use rounds::{Ended, Rounds, reason};
use session::{CarriedOver, Session};
use v2::is_before_v3;

/// etcd as a source.
#[derive(Debug)]
pub struct Etcd {
    settings: EtcdSettings,
    keyspace: Keyspace,
    feed: Feed,
    /// The v2 API, if what is found here decides whether it is read.
    both: Option<BothApis>,
}

impl Etcd {
    /// A source that is read at the endpoints of the settings.
    pub fn new(settings: EtcdSettings, keyspace: Keyspace, feed: Feed) -> Self {
        Self { settings, keyspace, feed, both: None }
    }

    /// The same, and what is found decides whether the v2 API is read.
    pub fn deciding(self, both: BothApis) -> Self {
        Self { both: Some(both), ..self }
    }

    /// Mirrors the store until the mirror ends.
    pub async fn run(self) -> Closed {
        let mut rounds = Rounds::new(&self.settings);
        let mut carried_over = CarriedOver::default();
        // Whether the store was listed, as it is or as a server has it.
        let mut has_listing = false;
        loop {
            let endpoint = rounds.endpoint();
            let mut session =
                Session::new(&self.settings, &self.keyspace, &self.feed, &mut carried_over, &endpoint);
            let Err(mut error) = session.run(self.both.as_ref()).await;
            if let EtcdError::Closed(closed) = error {
                return closed;
            }
            let (synced, members) = (session.synced, session.members.take());
            // What such a server says to gRPC is lost now and then: it closes the connection behind it.
            if synced.is_none() && error.is_lost() && is_before_v3(&self.settings, &endpoint).await {
                error = EtcdError::NoV3 { endpoint: endpoint.clone() };
            }
            has_listing |= synced.is_some();
            let endpoints = members.map(|members| self.settings.merged(members));
            let outlook = rounds.note(Ended { error, synced, endpoints });
            let reason = reason(&self.settings, rounds.errors());
            if outlook.is_unreachable
                && let Err(closed) = self.feed.push(Event::Unreachable(reason.clone())).await
            {
                return closed;
            }
            if !outlook.all_failed {
                continue;
            }
            if let Some(both) = &self.both {
                let is_absent = is_v3_absent(rounds.errors(), self.settings.are_default());
                if let Err(closed) = both.note_failed(is_absent).await {
                    return closed;
                }
            }
            if !has_listing {
                match self.list_stale(rounds.endpoints(), &mut carried_over, &reason).await {
                    Ok(is_listed) => has_listing = is_listed,
                    Err(closed) => return closed,
                }
            }
            rounds.pause().await;
        }
    }

    /// Lists what a server has while none of them can say whether that is the present state, as without a quorum; whether
    /// there is such a server. Old names are better than none.
    async fn list_stale(
        &self,
        endpoints: &[String],
        carried_over: &mut CarriedOver,
        because: &str,
    ) -> Result<bool, Closed> {
        for endpoint in endpoints {
            let mut session =
                Session::new(&self.settings, &self.keyspace, &self.feed, carried_over, endpoint);
            match session.list_stale(because).await {
                Ok(()) => return Ok(true),
                Err(EtcdError::Closed(closed)) => return Err(closed),
                Err(_) => {}
            }
        }
        Ok(false)
    }

    /// Lists the store once, for `skydns check`; returns whether the v2 API would be read as well where nobody has said so.
    ///
    /// # Errors
    /// No endpoint answered; [`EtcdError::NoV3`] if all that did have no v3 API.
    pub async fn list_once(&self) -> Result<bool, EtcdError> {
        let mut errors = Vec::new();
        let mut carried_over = CarriedOver::default();
        for endpoint in &self.settings.endpoints {
            let mut session =
                Session::new(&self.settings, &self.keyspace, &self.feed, &mut carried_over, endpoint);
            match session.list_once().await {
                Ok(wants_v2) => return Ok(wants_v2),
                Err(error) if error.is_lost() && is_before_v3(&self.settings, endpoint).await => {
                    errors.push((endpoint.clone(), EtcdError::NoV3 { endpoint: endpoint.clone() }));
                }
                Err(error) => errors.push((endpoint.clone(), error)),
            }
        }
        if is_v3_absent(&errors, self.settings.are_default()) {
            return Err(EtcdError::NoV3 { endpoint: self.settings.endpoints.join(", ") });
        }
        Err(EtcdError::NoneAnswers(reason(&self.settings, &errors)))
    }
}
