//! The states that answers are made from, as the fast path compares them: without counting references.

use super::handler::Handler;
use crate::config::{Config, ForwardConfig};
use crate::dnssec::Signer;
use crate::source::Published;
use std::sync::Arc;

impl Handler {
    /// The present tree.
    pub(super) fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// Brings a handle of the tree up to date.
    pub(super) fn published_into(&self, handle: &mut Arc<Published>) {
        let present = self.published.load();
        if !Arc::ptr_eq(&present, handle) {
            *handle = arc_swap::Guard::into_inner(present);
        }
    }

    /// The present configuration.
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Whether that is the present configuration.
    pub(super) fn is_config(&self, config: &Arc<Config>) -> bool {
        Arc::ptr_eq(&self.config.load(), config)
    }

    /// The forwarder's present configuration.
    pub(super) fn forward_config(&self) -> Arc<ForwardConfig> {
        self.forwarder.config()
    }

    /// Whether that is the forwarder's present configuration.
    pub(super) fn is_forward_config(&self, config: &Arc<ForwardConfig>) -> bool {
        self.forwarder.is_config(config)
    }

    /// Whether that is what signs our answers, if anything does.
    pub(super) fn is_signer(&self, signer: Option<&Arc<Signer>>) -> bool {
        match (&*self.signer().load(), signer) {
            (Some(present), Some(signer)) => Arc::ptr_eq(present, signer),
            (None, None) => true,
            _ => false,
        }
    }
}
