//! Passes again and again, until somebody stops them.

use super::origin::V2Store;
use super::plan::GRACE;
use super::target::Target;
use super::{MigrateError, MigrateNews, Migration, Pass};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Minimum pause between two passes.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// That pause as a multiple of how long a pass takes.
const PAUSE_FACTOR: u32 = 10;

/// Maximum time between two passes: leases are renewed in each, and who renews a key of v2 may do so without a word.
const MAX_PAUSE: Duration = Duration::from_secs(GRACE as u64 / 3);

/// For how long the leases of copies are renewed while v2 cannot be read.
const MAX_BLIND: Duration = Duration::from_secs(600);

/// The stores as they were read last, and what was told of them.
struct Follower {
    store: V2Store,
    target: Target,
    /// Whether the connection to v3 failed.
    is_lost: bool,
    /// The last pass, if there was one, as it was told.
    told: Option<Pass>,
    last_good: Instant,
    /// How long the last pass took.
    took: Duration,
}

impl Migration {
    /// Carries all keys, and each change, until `stop` is ready.
    ///
    /// # Errors
    /// A store cannot be reached at the beginning, or another one carries keys now.
    pub async fn follow(
        &mut self,
        stop: impl Future<Output = ()>,
        mut tell: impl FnMut(MigrateNews<'_>),
    ) -> Result<(), MigrateError> {
        let mut stop = std::pin::pin!(stop);
        let store = self.read_v2().await?;
        let mut target = self.connect(&store, None).await?;
        target.lock().await.map_err(MigrateError::To)?;
        let mut follower = Follower {
            store,
            target,
            is_lost: false,
            told: None,
            last_good: Instant::now(),
            took: Duration::ZERO,
        };
        loop {
            let begun = Instant::now();
            // What a pass leaves undone when it is stopped, the next run does.
            let passed = tokio::select! {
                passed = self.pass_again(&mut follower, &mut tell) => passed,
                () = &mut stop => {
                    follower.target.unlock().await;
                    return Ok(());
                }
            };
            let is_done = passed.as_ref().is_ok_and(|pass| pass.lost == 0);
            match passed {
                Ok(pass) => {
                    (follower.last_good, follower.took) = (Instant::now(), begun.elapsed());
                    follower.tell(pass, &mut tell);
                }
                Err(error) => {
                    tell(MigrateNews::Failed(&error));
                    follower.note(&error).await;
                }
            }
            let pause = MIN_PAUSE.max(follower.took * PAUSE_FACTOR).min(MAX_PAUSE);
            let wait = async {
                sleep(pause).await;
                if is_done {
                    self.origin.change(&follower.store, MAX_PAUSE - pause).await;
                }
            };
            tokio::select! {
                () = wait => {}
                () = &mut stop => {
                    follower.target.unlock().await;
                    return Ok(());
                }
            }
        }
    }

    /// Reads v2 anew, and does the next pass.
    async fn pass_again(
        &mut self,
        follower: &mut Follower,
        tell: &mut impl FnMut(MigrateNews<'_>),
    ) -> Result<Pass, MigrateError> {
        let is_first = follower.told.is_none();
        let Follower { store, target, is_lost, .. } = follower;
        if *is_lost {
            let connected = self.connect(store, Some(target.cluster())).await?;
            target.replace_connection(connected);
            *is_lost = false;
        }
        if !target.has_lock() {
            target.lock().await.map_err(MigrateError::To)?;
        }
        let mut pass = self.pass_anew(store, target, false, tell).await?;
        if is_first {
            self.add_hidden(&follower.store, &mut pass).await;
        }
        Ok(pass)
    }
}

impl Follower {
    /// Tells what a pass did, if that is news.
    fn tell(&mut self, pass: Pass, tell: &mut impl FnMut(MigrateNews<'_>)) {
        let is_news = self.told.as_ref().is_none_or(|before| {
            (&before.kept, &before.other_values) != (&pass.kept, &pass.other_values)
                || pass.uncarried.iter().any(|one| !before.uncarried.contains(one))
        });
        if is_news || pass.written + pass.removed + pass.lost > 0 {
            tell(MigrateNews::Pass(&pass));
        }
        self.told = Some(pass);
    }

    /// Does what can be done after a pass that failed.
    async fn note(&mut self, error: &MigrateError) {
        match error {
            MigrateError::From(_) if self.last_good.elapsed() < MAX_BLIND => {
                let leases = self.target.leases.all();
                self.is_lost |= self.target.renew(&leases).await.is_err();
            }
            MigrateError::From(_) => {}
            MigrateError::To(_) => self.is_lost = true,
        }
    }
}
