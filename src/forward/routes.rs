//! Zones whose servers the settings name: questions for names in them go there, as those of stub zones do, and stay there.

use super::context::UpstreamContext;
use super::endpoint::Endpoint;
use super::message::UpstreamQuestion;
use super::stub::StubZone;
use super::tcp::TcpTransport;
use super::verdict::rcode_name;
use crate::answer::Site;
use crate::config::Route;
use crate::lock::lock;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use std::hash::RandomState;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Time for the answer of a server that is asked once.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// The routes with what is known of their servers.
#[derive(Debug, Default)]
pub struct RouteTable {
    present: Mutex<Present>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Present {
    routes: Arc<[Route]>,
    zones: Vec<Arc<StubZone>>,
}

impl Default for Present {
    fn default() -> Self {
        Self { routes: Arc::new([]), zones: Vec::new() }
    }
}

impl RouteTable {
    /// The route of a name, the closest of several; none for names of our own zones below.
    pub fn find(&self, routes: &Arc<[Route]>, name: &Name, site: &Site) -> Option<Arc<StubZone>> {
        if routes.is_empty() {
            return None;
        }
        let name = name.to_lowercase();
        let labels = |zone: &Name| zone.iter().count();
        let mut present = lock(&self.present);
        present.take(routes, &self.hasher);
        let of_name = present.zones.iter().filter(|route| route.zone.zone_of(&name));
        let route = of_name.max_by_key(|route| labels(&route.zone))?;
        let is_ours = site.zones.of(&name).is_some_and(|own| labels(own.domain()) >= labels(&route.zone));
        (!is_ours).then(|| Arc::clone(route))
    }
}

/// Asks a server once, over a connection of its own, whether it has a zone; for `skydns check`.
///
/// # Errors
/// There is no answer, or it says that there is no such zone; in words.
pub async fn check_server(zone: &Name, server: SocketAddr) -> Result<(), String> {
    let context = UpstreamContext::new(CHECK_TIMEOUT);
    let question = UpstreamQuestion::own(zone.clone(), RecordType::SOA);
    let transport = TcpTransport::new(server);
    let asked = transport.exchange(&question, false, &context).await.map_err(|error| error.to_string())?;
    match asked.reply.rcode {
        ResponseCode::NoError => Ok(()),
        rcode => Err(format!("it answers {}", rcode_name(rcode))),
    }
}

impl Present {
    /// Takes over other routes; what is known of servers that stay is kept.
    fn take(&mut self, routes: &Arc<[Route]>, hasher: &RandomState) {
        if Arc::ptr_eq(routes, &self.routes) {
            return;
        }
        let zone = |route: &Route| {
            let before = self.zones.iter().find(|before| before.zone == route.zone);
            let servers = route.servers.iter().map(|server| Endpoint::over_tcp(*server)).collect();
            let zone = StubZone::new(route.zone.clone(), servers, before.map(|zone| &**zone), hasher);
            Arc::new(zone.keeping_denials())
        };
        let zones = routes.iter().map(zone).collect();
        *self = Self { routes: Arc::clone(routes), zones };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Zone;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    #[test]
    fn the_closest_route_is_taken_unless_the_name_is_ours() {
        let server = |port| ([127, 0, 0, 1], port).into();
        let route = |zone: &str, port| Route { zone: name(zone), servers: vec![server(port)] };
        let routes: Arc<[Route]> =
            [route("cluster.local.", 1), route("x.cluster.local.", 2), route("10.in-addr.arpa.", 3)].into();
        let site = Site::new(Zone::new(&name("own.cluster.local.")));
        let table = RouteTable::default();
        let port = |routes: &Arc<[Route]>, text: &str| {
            Some(table.find(routes, &name(text), &site)?.servers[0].address.port())
        };
        for (text, expected) in [
            ("web.shop.svc.Cluster.local.", Some(1)),
            ("cluster.local.", Some(1)),
            ("a.x.cluster.local.", Some(2)),
            ("1.0.96.10.in-addr.arpa.", Some(3)),
            ("a.own.cluster.local.", None),
            ("local.", None),
            ("example.org.", None),
        ] {
            assert_eq!(port(&routes, text), expected, "{text}");
        }
        assert_eq!(port(&[].into(), "cluster.local."), None);
        assert_eq!(
            port(&[route("cluster.local.", 9)].into(), "cluster.local."),
            Some(9),
            "others take their place"
        );
    }
}
