use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const NOTIFY: Effects =
    Effects { log: None, notify: true, end_exchanges: false, pass_over: false, probe: false };
const PROBE: Effects = Effects { notify: false, probe: true, ..NOTIFY };

fn log(notice: UpstreamNotice) -> Effects {
    Effects { log: Some(notice), ..NOTIFY }
}

/// The state after some events, each ten seconds after the one before, and the effects of the last: (a)nswer,
/// (s)ervfail, question that got no reply though it was sent a second before: (l)oss, failure where another one
/// (o)utdid, reply to a (p)robe, probe that (f)ailed, 30 s (t)ick.
fn after(events: &str) -> (UpstreamState, Effects) {
    let mut state = UpstreamState::new();
    let (mut effects, mut now) = (Effects::default(), Instant::now());
    for letter in events.chars() {
        now += 10 * SECOND;
        effects = match letter {
            'a' => state.on_answer(MILLISECOND, now),
            's' => state.on_failure_reply(now),
            'l' => state.on_unanswered(now - SECOND, now),
            'o' => {
                let _ = state.on_failure_reply(now);
                state.on_outdone(now)
            }
            'p' => state.on_probe_reply(MILLISECOND, now),
            'f' => state.on_probe_unanswered(now - SECOND, now),
            't' => {
                now += 30 * SECOND;
                state.on_tick(now)
            }
            _ => unreachable!("no event {letter}"),
        };
    }
    (state, effects)
}

#[test]
fn questions_in_a_row_without_a_reply_make_an_upstream_doubted_and_with_a_probe_dead() {
    use Health::{Dead, Doubted, Healthy};
    let rows = [
        ("", Healthy),
        ("l", Healthy),
        ("ll", Healthy),
        ("lll", Doubted),
        ("llll", Doubted),
        ("f", Healthy),
        ("lf", Healthy),
        ("llf", Dead),
        ("lff", Dead),
        ("lllf", Dead),
        ("lfl", Dead),
        ("llfl", Dead),
        ("llal", Healthy),
        ("llsl", Healthy),
        ("llpl", Healthy),
        ("llaf", Healthy),
        ("llallf", Dead),
    ];
    for (events, health) in rows {
        let (state, _) = after(events);
        let changes = u64::from(health == Dead);
        assert_eq!((state.summary().health, state.changes()), (health, changes), "{events:?}");
        assert_eq!(state.summary().is_up(), health != Dead, "{events:?}");
    }
}

#[test]
fn an_upstream_is_up_once_it_replied_and_down_once_it_failed() {
    use UpstreamCondition::{Down, NotAsked, Up};
    for (events, condition) in
        [("", NotAsked), ("l", NotAsked), ("a", Up), ("lll", NotAsked), ("llf", Down), ("llfa", Up)]
    {
        assert_eq!(after(events).0.condition(), condition, "{events:?}");
    }
}

#[test]
fn any_reply_makes_an_upstream_healthy_again() {
    for events in ["llla", "llls", "lllp", "llfa", "llfs", "llfp", "llfo"] {
        assert_eq!(after(events).0.summary().health, Health::Healthy, "{events:?}");
    }
}

#[test]
fn a_question_without_a_reply_says_nothing_if_a_reply_to_another_one_came_meanwhile() {
    let start = Instant::now();
    let mut state = UpstreamState::new();
    for n in 0..100 {
        let now = start + n * SECOND;
        let _ = state.on_answer(MILLISECOND, now);
        assert_eq!(state.on_unanswered(now - MILLISECOND, now), Effects::default());
    }
    assert_eq!(state.summary().health, Health::Healthy);
    assert_eq!(state.take_probe(start), None);
}

#[test]
fn many_questions_of_one_moment_say_no_more_than_one() {
    let start = Instant::now();
    let mut state = UpstreamState::new();
    for _ in 0..100 {
        let _ = state.on_unanswered(start, start + 50 * MILLISECOND);
    }
    assert_eq!(state.summary().health, Health::Healthy);
    let _ = state.on_unanswered(start + 350 * MILLISECOND, start + 400 * MILLISECOND);
    assert_eq!(state.summary().health, Health::Doubted);
}

#[test]
fn an_upstream_fails_after_five_questions_that_another_answered_and_is_tried_again() {
    let rows = [
        ("sssssssss", false, false),
        ("oooo", false, false),
        ("ooooo", true, false),
        ("ooaooo", false, false),
        ("oolloplo", false, false),
        ("oosooo", true, false),
        ("ooooop", true, false),
        ("oooooa", false, false),
        ("ooooot", true, true),
        ("ooooota", false, false),
        ("oooooto", true, false),
        ("ooooota", false, false),
    ];
    for (events, is_failing, is_retry_due) in rows {
        let summary = after(events).0.summary();
        assert_eq!((summary.is_failing, summary.is_retry_due), (is_failing, is_retry_due), "{events:?}");
        assert_eq!((summary.is_up(), summary.may_answer()), (!is_failing, true), "{events:?}");
    }
}

#[test]
fn what_follows_from_an_event() {
    use UpstreamNotice::{AnswersAgain, DoesNotAnswer};
    let died = Effects { pass_over: true, ..log(DoesNotAnswer) };
    let rows = [
        // From here on it is known to answer.
        ("a", NOTIFY),
        ("aa", Effects::default()),
        ("l", PROBE),
        ("ll", Effects::default()),
        ("lll", Effects::default()),
        ("lal", PROBE),
        ("llf", died),
        ("lllf", died),
        ("llff", Effects::default()),
        ("llffl", Effects::default()),
        ("llffa", log(AnswersAgain)),
        ("llffp", log(AnswersAgain)),
        ("llffaa", Effects::default()),
        ("llffallf", died),
        ("oooo", Effects::default()),
        ("ooooo", NOTIFY),
        ("oooooo", Effects::default()),
        ("ooooot", Effects::default()),
        ("oooooa", NOTIFY),
    ];
    for (events, effects) in rows {
        assert_eq!(after(events).1, effects, "{events:?}");
    }
}

#[test]
fn an_upstream_is_probed_when_a_question_has_to_be_sent_again() {
    let start = Instant::now();
    let mut state = UpstreamState::new();
    let _ = state.on_answer(MILLISECOND, start + MILLISECOND);
    assert_eq!(state.on_silence(start, start + SECOND), Effects::default(), "a reply to another one came");
    assert_eq!(state.on_silence(start + SECOND, start + 2 * SECOND), PROBE);
    assert_eq!(state.take_probe(start + 2 * SECOND), Some(ProbeKind::Health));
    let _ = state.on_probe_reply(MILLISECOND, start + 2 * SECOND);
    assert_eq!(state.take_probe(start + 9 * SECOND), None);
    assert_eq!(state.summary().health, Health::Healthy);
}

#[test]
fn an_upstream_is_probed_from_the_first_question_without_a_reply_on() {
    let start = Instant::now();
    let mut state = UpstreamState::new();
    assert_eq!(state.take_probe(start), None);
    let _ = state.on_unanswered(start, start + SECOND);
    assert_eq!(state.take_probe(start + SECOND), Some(ProbeKind::Health));
    let _ = state.on_probe_unanswered(start + SECOND, start + 2 * SECOND);
    assert_eq!(state.take_probe(start + 2 * SECOND), None, "after a pause");
    assert_eq!(state.take_probe(start + 3 * SECOND), Some(ProbeKind::Health));
    let _ = state.on_probe_reply(MILLISECOND, start + 3 * SECOND);
    assert_eq!(state.take_probe(start + 10 * SECOND), None);
}

#[test]
fn a_new_reply_time_counts_an_eighth() {
    let mut state = UpstreamState::new();
    let rtt = |state: &mut UpstreamState, micros: u64| {
        let _ = state.on_answer(Duration::from_micros(micros), Instant::now());
        state.summary().rtt.map_or(0, |rtt| rtt.as_micros())
    };
    assert_eq!(state.summary().rtt, None);
    assert_eq!(rtt(&mut state, 8_000), 8_000);
    assert_eq!(rtt(&mut state, 16_000), 9_000);
    assert_eq!(rtt(&mut state, 0), 7_875);
    assert_eq!(rtt(&mut UpstreamState::new(), 0), 1, "0 would be none");
    let mut slow = UpstreamState::new();
    assert_eq!(rtt(&mut slow, u64::MAX), u128::from(u32::MAX));
    assert_eq!(rtt(&mut slow, u64::MAX), u128::from(u32::MAX));
}

#[test]
fn a_suspected_loop_is_probed_for_once_and_before_health() {
    let now = Instant::now();
    let (mut state, _) = after("lll");
    let _ = state.on_loop_suspected();
    assert_eq!(state.take_probe(now), Some(ProbeKind::Loop { known_since: None }));
    assert_eq!(state.take_probe(now), Some(ProbeKind::Health));
    assert_eq!(state.on_loop_probe_reply(None), Effects::default(), "no loop was known");
    assert_eq!(UpstreamState::new().take_probe(now), None);
}

#[test]
fn a_loop_is_logged_once_and_ends_the_exchanges_each_time_a_probe_comes_back() {
    let now = Instant::now();
    let (mut state, _) = after("llf");
    let found = Effects { end_exchanges: true, ..log(UpstreamNotice::LoopFound) };
    assert_eq!(state.on_loop_found(now), found);
    assert!(state.summary().is_looping && !state.summary().is_up());
    assert_eq!(state.on_loop_found(now), Effects { end_exchanges: true, ..Effects::default() });
    assert_eq!(state.changes(), 2);
    assert_eq!(state.take_probe(now), None, "a looping upstream is not probed for health");
}

#[test]
fn a_looping_upstream_is_probed_after_thirty_seconds_or_when_suspected_again() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut state = UpstreamState::new();
    let _ = state.on_loop_found(start);
    let probe = Some(ProbeKind::Loop { known_since: Some(start) });
    assert_eq!((state.take_probe(at(29)), state.take_probe(at(30))), (None, probe));
    assert_eq!(state.take_probe(at(31)), probe, "until a reply, or the probe, comes");
    let _ = state.on_loop_found(at(31));
    assert_eq!(state.take_probe(at(60)), None);
    let _ = state.on_loop_suspected();
    assert_eq!(state.take_probe(at(60)), Some(ProbeKind::Loop { known_since: Some(at(31)) }));
    assert_eq!(state.take_probe(at(60)), None);
}

#[test]
fn a_loop_ends_with_a_reply_to_a_probe_that_did_not_come_back() {
    let start = Instant::now();
    let later = start + MILLISECOND;
    let mut state = UpstreamState::new();
    let _ = state.on_loop_found(start);
    let _ = state.on_loop_found(later);
    assert_eq!(state.on_loop_probe_reply(Some(start)), Effects::default(), "it came back meanwhile");
    let ended = log(UpstreamNotice::LoopEnded);
    assert_eq!(state.on_loop_probe_reply(Some(later)), ended);
    assert!(state.summary().is_up());
    assert_eq!(state.changes(), 2);
    assert_eq!(state.on_loop_probe_reply(Some(later)), Effects::default());
}
