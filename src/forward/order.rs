//! In which order upstreams are asked one question.

use super::health::Health;
use super::upstream_summary::UpstreamSummary;
use crate::config::NsPolicy;
use std::time::Duration;

/// Upstreams share the questions if their reply time is at most twice that of the fastest one plus this time.
const NEAR_RTT: Duration = Duration::from_millis(10);

/// One in so many questions goes first to the second fastest upstream, so that its reply time stays known.
const EXPLORE_PERIOD: usize = 64;

/// Positions of the upstreams in the order to ask them, by a policy; `turn` counts questions.
///
/// With `order`, they come as they are listed, and only dead ones behind the others. Else healthy ones come first, the
/// fastest one first; an upstream without a reply so far counts as fast. With `rotate`, questions are spread over the
/// healthy ones that are about as fast as the fastest one. With `fastest`, some go to the second fastest.
pub(super) fn order(upstreams: &[UpstreamSummary], policy: NsPolicy, turn: usize) -> Vec<usize> {
    let rtt = |at: usize| upstreams[at].rtt.unwrap_or_default();
    let mut order: Vec<usize> = (0..upstreams.len()).collect();
    if policy == NsPolicy::Order {
        order.sort_by_key(|at| (upstreams[*at].health == Health::Dead, *at));
        return order;
    }
    order.sort_by_key(|at| (rank(&upstreams[*at]), rtt(*at), *at));
    let healthy = order.iter().filter(|at| rank(&upstreams[**at]) == 0).count();
    if healthy < 2 {
        return order;
    }
    if policy == NsPolicy::Rotate {
        let limit = 2 * rtt(order[0]) + NEAR_RTT;
        let near = order[..healthy].iter().filter(|at| rtt(**at) <= limit).count();
        order[..near].sort_unstable();
        order[..near].rotate_left(turn % near);
    } else if turn % EXPLORE_PERIOD == EXPLORE_PERIOD - 1 {
        order[..healthy].rotate_left(1);
    }
    order
}

/// Where an upstream stands: healthy ones are asked before others, dead ones last.
fn rank(upstream: &UpstreamSummary) -> u8 {
    match upstream.health {
        Health::Dead => 2,
        Health::Healthy if !upstream.is_failing || upstream.is_retry_due => 0,
        Health::Doubted | Health::Healthy => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::NsPolicy::{Fastest, Order, Rotate};
    use super::*;

    fn upstream(health: Health, millis: u64) -> UpstreamSummary {
        let rtt = (millis > 0).then(|| Duration::from_millis(millis));
        UpstreamSummary { health, rtt, ..UpstreamSummary::from_word(0) }
    }

    fn healthy(millis: u64) -> UpstreamSummary {
        upstream(Health::Healthy, millis)
    }

    fn doubted(millis: u64) -> UpstreamSummary {
        upstream(Health::Doubted, millis)
    }

    #[test]
    fn the_fastest_healthy_upstream_comes_first() {
        let upstreams = [healthy(90), doubted(1), healthy(20), healthy(40)];
        assert_eq!(order(&upstreams, Fastest, 0), [2, 3, 0, 1]);
        assert_eq!(order(&upstreams, Fastest, EXPLORE_PERIOD - 1), [3, 0, 2, 1]);
    }

    #[test]
    fn turns_spread_questions_over_upstreams_about_as_fast() {
        let upstreams = [healthy(20), healthy(90), healthy(40), doubted(1)];
        assert_eq!(order(&upstreams, Rotate, 0), [0, 2, 1, 3]);
        assert_eq!(order(&upstreams, Rotate, 1), [2, 0, 1, 3]);
        assert_eq!(order(&upstreams, Rotate, 2), [0, 2, 1, 3]);
    }

    #[test]
    fn an_upstream_that_was_never_asked_comes_first() {
        assert_eq!(order(&[healthy(20), healthy(0)], Fastest, 0), [1, 0]);
        assert_eq!(order(&[doubted(5), doubted(2)], Rotate, 3), [1, 0]);
        assert!(order(&[], Rotate, 1).is_empty());
    }

    #[test]
    fn one_that_fails_comes_behind_the_healthy_ones_until_it_is_tried_again() {
        let failing = UpstreamSummary { is_failing: true, ..healthy(1) };
        assert_eq!(order(&[failing, healthy(9), upstream(Health::Dead, 1)], Fastest, 0), [1, 0, 2]);
        let tried_again = UpstreamSummary { is_retry_due: true, ..failing };
        assert_eq!(order(&[healthy(9), tried_again], Fastest, 0), [1, 0]);
    }

    #[test]
    fn the_order_of_the_list_holds_but_for_dead_ones() {
        let failing = UpstreamSummary { is_failing: true, ..healthy(90) };
        for turn in 0..EXPLORE_PERIOD {
            let upstreams = [failing, healthy(1), doubted(5), healthy(0)];
            assert_eq!(order(&upstreams, Order, turn), [0, 1, 2, 3]);
            let dead = upstream(Health::Dead, 1);
            assert_eq!(order(&[dead, healthy(9), dead, doubted(1)], Order, turn), [1, 3, 0, 2]);
        }
    }
}
