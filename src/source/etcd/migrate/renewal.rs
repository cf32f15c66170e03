//! Leases of the v3 store: asked for, granted and renewed.

use super::super::error::EtcdError;
use super::leases::LeaseTime;
use super::target::Target;
use etcd_client::Error;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How often the lock is renewed while something takes long.
pub(super) const LOCK_RENEWAL: Duration = Duration::from_secs(10);

/// Leases that are asked for at the same time.
const AT_ONCE: usize = 16;

/// Leases after which it is looked whether the lock has to be renewed.
const LEASES_PER_LOOK: usize = 512;

impl Target {
    /// Asks for the leases of our keys that are not known.
    pub(super) async fn learn_leases(&mut self, ours: &HashSet<i64>) -> Result<(), EtcdError> {
        for part in self.leases.unknown(ours).chunks(LEASES_PER_LOOK) {
            let asked = stream::iter(part.iter().copied()).map(|lease| self.lease_time(lease));
            let learned: Vec<_> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
            learned.into_iter().flatten().for_each(|(lease, time)| self.leases.note(lease, time));
            self.renew(&[]).await?;
        }
        Ok(())
    }

    /// The seconds of a lease, if there is one.
    async fn lease_time(&self, lease: i64) -> Result<Option<(i64, LeaseTime)>, EtcdError> {
        let mut client = self.client.lease_client();
        let asked = async move { client.time_to_live(lease, None).await };
        let answer = self.wait("asking for a lease", asked).await?;
        let seconds = (u32::try_from(answer.granted_ttl()), u32::try_from(answer.ttl()));
        Ok(match seconds {
            (Ok(granted), Ok(left @ 1..)) => Some((lease, LeaseTime { granted, left })),
            _ => None,
        })
    }

    /// Renews leases, and that of the lock; those that are gone are not known any more.
    pub(super) async fn renew(&mut self, leases: &[i64]) -> Result<(), EtcdError> {
        self.renew_lock().await?;
        let mut of_lock = Instant::now();
        for part in leases.chunks(LEASES_PER_LOOK) {
            let asked = stream::iter(part.iter().copied())
                .map(async |lease| self.renew_one(lease).await.map(|is_there| (lease, is_there)));
            let renewed: Vec<_> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
            for (lease, is_there) in renewed {
                if is_there { self.leases.renew(lease) } else { self.leases.forget(lease) }
            }
            if of_lock.elapsed() > LOCK_RENEWAL {
                self.renew_lock().await?;
                of_lock = Instant::now();
            }
        }
        Ok(())
    }

    /// Does something else, and keeps the lock meanwhile.
    pub(super) async fn holding<T>(&mut self, work: impl Future<Output = T>) -> Result<T, EtcdError> {
        let mut work = pin!(work);
        loop {
            match timeout(LOCK_RENEWAL, &mut work).await {
                Ok(done) => return Ok(done),
                Err(_) => self.renew_lock().await?,
            }
        }
    }

    pub(super) async fn renew_lock(&mut self) -> Result<(), EtcdError> {
        let Some(lease) = self.lock.as_ref().map(|(lease, _)| *lease) else { return Ok(()) };
        if self.renew_one(lease).await? { Ok(()) } else { Err(self.lock_lost()) }
    }

    /// Renews a lease; whether there is one.
    async fn renew_one(&self, lease: i64) -> Result<bool, EtcdError> {
        let mut client = self.client.lease_client();
        let renewed = async move {
            match client.keep_alive(lease).await {
                Ok(_) => Ok(true),
                Err(Error::LeaseKeepAliveError(_)) => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.wait("renewing a lease", renewed).await
    }

    /// A lease for so many seconds.
    pub(super) async fn lease(&mut self, seconds: u32) -> Result<i64, EtcdError> {
        if let Some(lease) = self.leases.of_seconds(seconds) {
            return Ok(lease);
        }
        let lease = self.grant(seconds.into()).await?;
        self.leases.grant(lease, seconds);
        Ok(lease)
    }

    pub(super) async fn grant(&self, seconds: i64) -> Result<i64, EtcdError> {
        let mut client = self.client.lease_client();
        let granted = async move { client.grant(seconds, None).await };
        Ok(self.wait("asking for a lease", granted).await?.id())
    }
}
