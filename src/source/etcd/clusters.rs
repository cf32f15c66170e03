//! Which cluster the endpoints belong to: those of one are mirrored, and others are refused.

use super::error::EtcdError;
use std::collections::HashMap;

/// The cluster that is mirrored, and those of the endpoints.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    ours: Option<u64>,
    by_endpoint: HashMap<String, u64>,
}

impl Clusters {
    /// Checks that an endpoint belongs to the cluster that is mirrored.
    ///
    /// The first endpoint that answers decides. When one of that cluster answers for another one, the cluster was replaced, as
    /// by a backup.
    ///
    /// # Errors
    /// It belongs to another cluster.
    pub(super) fn check(&mut self, endpoint: &str, cluster: Option<u64>) -> Result<(), EtcdError> {
        let Some(cluster) = cluster else { return Ok(()) };
        let before = self.by_endpoint.insert(endpoint.to_owned(), cluster);
        match self.ours {
            Some(ours) if ours != cluster && before != Some(ours) => Err(EtcdError::OtherCluster {
                endpoint: endpoint.to_owned(),
                cluster,
                ours,
                members: self.members(ours),
            }),
            _ => {
                self.ours = Some(cluster);
                Ok(())
            }
        }
    }

    /// The cluster of an endpoint, as far as it is known.
    pub(super) fn of(&self, endpoint: &str) -> Option<u64> {
        self.by_endpoint.get(endpoint).copied()
    }

    /// The endpoints of a cluster.
    fn members(&self, cluster: u64) -> String {
        let of_cluster = self.by_endpoint.iter().filter(|(_, of)| **of == cluster);
        let mut members: Vec<_> = of_cluster.map(|(endpoint, _)| endpoint.as_str()).collect();
        members.sort_unstable();
        members.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_one_cluster_are_mirrored() {
        let mut clusters = Clusters::default();
        assert!(clusters.check("a", Some(1)).is_ok() && clusters.check("b", Some(1)).is_ok());
        let refused = clusters.check("c", Some(2)).expect_err("another cluster").to_string();
        assert!(refused.starts_with("c: belongs to cluster 2") && refused.contains("(a, b)"), "{refused}");
        assert!(clusters.check("c", Some(2)).is_err(), "nor the second time");
        assert!(clusters.check("d", None).is_ok());
        // The cluster was restored from a backup.
        assert!(clusters.check("b", Some(3)).is_ok() && clusters.check("a", Some(3)).is_ok());
        assert!(clusters.check("c", Some(2)).is_err());
    }
}
