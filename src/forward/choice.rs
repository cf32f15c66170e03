//! Which upstream is asked first, second, and so on.

use super::upstream_state::{Health, UpstreamSummary};
use std::time::Duration;

/// Upstreams within twice the time of the fastest, and this, share the questions.
const NEAR: Duration = Duration::from_millis(10);

/// One in so many questions goes first to another than the fastest, so that its time stays known.
const EXPLORE: usize = 64;

/// Positions of the upstreams in the order to ask them.
///
/// Those that are well come first, fastest first; one without a reply yet counts as fast. `turn` counts
/// questions and spreads them over the well ones that are about as fast as the fastest.
pub(super) fn order(upstreams: &[UpstreamSummary], turn: Option<usize>, count: usize) -> Vec<usize> {
    let rtt = |at: usize| upstreams[at].rtt.unwrap_or_default();
    let mut order: Vec<usize> = (0..upstreams.len()).collect();
    order.sort_by_key(|at| (upstreams[*at].health == Health::Suspect, rtt(*at), *at));
    let healthy = order.iter().filter(|at| upstreams[**at].health == Health::Healthy).count();
    if healthy < 2 {
        return order;
    }
    let limit = 2 * rtt(order[0]) + NEAR;
    let near = order[..healthy].iter().filter(|at| rtt(**at) <= limit).count();
    match turn {
        Some(turn) => {
            order[..near].sort_unstable();
            order[..near].rotate_left(turn % near);
        }
        None if count % EXPLORE == EXPLORE - 1 => order[..healthy].rotate_left(1),
        None => {}
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(is_healthy: bool, millis: u64) -> UpstreamSummary {
        let health = if is_healthy { Health::Healthy } else { Health::Suspect };
        let rtt = (millis > 0).then(|| Duration::from_millis(millis));
        UpstreamSummary { health, rtt, ..UpstreamSummary::from_word(0) }
    }

    #[test]
    fn the_fastest_healthy_upstream_comes_first() {
        let upstreams = [upstream(true, 90), upstream(false, 1), upstream(true, 20), upstream(true, 40)];
        assert_eq!(order(&upstreams, None, 0), [2, 3, 0, 1]);
        assert_eq!(order(&upstreams, None, EXPLORE - 1), [3, 0, 2, 1]);
    }

    #[test]
    fn turns_spread_over_those_about_as_fast() {
        let upstreams = [upstream(true, 20), upstream(true, 90), upstream(true, 40), upstream(false, 1)];
        assert_eq!(order(&upstreams, Some(0), 0), [0, 2, 1, 3]);
        assert_eq!(order(&upstreams, Some(1), 0), [2, 0, 1, 3]);
        assert_eq!(order(&upstreams, Some(2), 0), [0, 2, 1, 3]);
    }

    #[test]
    fn one_that_was_never_asked_gets_its_chance() {
        let upstreams = [upstream(true, 20), upstream(true, 0)];
        assert_eq!(order(&upstreams, None, 0), [1, 0]);
        assert_eq!(order(&[upstream(false, 5), upstream(false, 2)], Some(3), 0), [1, 0]);
        assert!(order(&[], Some(1), 0).is_empty());
    }
}
