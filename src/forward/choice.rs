//! Which upstream is asked first, second, and so on.

use std::time::Duration;

/// What is known of an upstream when it is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether it is in order, as far as is known.
    pub(super) well: bool,
    /// Smoothed time of its replies; `None` before the first.
    pub(super) rtt: Option<Duration>,
}

/// Upstreams within twice the time of the fastest, and this, share the questions.
const NEAR: Duration = Duration::from_millis(10);

/// One in so many questions goes first to another than the fastest, so that its time stays known.
const EXPLORE: usize = 64;

/// Positions of the upstreams in the order to ask them.
///
/// Those that are well come first, fastest first; one without a reply yet counts as fast. `turn` counts
/// questions and spreads them over the well ones that are about as fast as the fastest.
pub(super) fn order(standings: &[Standing], turn: Option<usize>, count: usize) -> Vec<usize> {
    let rtt = |at: usize| standings[at].rtt.unwrap_or_default();
    let mut order: Vec<usize> = (0..standings.len()).collect();
    order.sort_by_key(|at| (!standings[*at].well, rtt(*at), *at));
    let well = order.iter().filter(|at| standings[**at].well).count();
    if well < 2 {
        return order;
    }
    let limit = 2 * rtt(order[0]) + NEAR;
    let near = order[..well].iter().filter(|at| rtt(**at) <= limit).count();
    match turn {
        Some(turn) => {
            order[..near].sort_unstable();
            order[..near].rotate_left(turn % near);
        }
        None if count % EXPLORE == EXPLORE - 1 => order[..well].rotate_left(1),
        None => {}
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(well: bool, millis: u64) -> Standing {
        Standing { well, rtt: (millis > 0).then(|| Duration::from_millis(millis)) }
    }

    #[test]
    fn the_fastest_that_is_well_comes_first() {
        let standings = [standing(true, 90), standing(false, 1), standing(true, 20), standing(true, 40)];
        assert_eq!(order(&standings, None, 0), [2, 3, 0, 1]);
        assert_eq!(order(&standings, None, EXPLORE - 1), [3, 0, 2, 1]);
    }

    #[test]
    fn turns_spread_over_those_about_as_fast() {
        let standings = [standing(true, 20), standing(true, 90), standing(true, 40), standing(false, 1)];
        assert_eq!(order(&standings, Some(0), 0), [0, 2, 1, 3]);
        assert_eq!(order(&standings, Some(1), 0), [2, 0, 1, 3]);
        assert_eq!(order(&standings, Some(2), 0), [0, 2, 1, 3]);
    }

    #[test]
    fn one_that_was_never_asked_gets_its_chance() {
        let standings = [standing(true, 20), standing(true, 0)];
        assert_eq!(order(&standings, None, 0), [1, 0]);
        assert_eq!(order(&[standing(false, 5), standing(false, 2)], Some(3), 0), [1, 0]);
        assert!(order(&[], Some(1), 0).is_empty());
    }
}
