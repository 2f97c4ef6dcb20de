//! Every row of the decision, and what holds for all of them.

use proptest::prelude::*;

use super::*;
use crate::policy::{Priority, SpillTarget};

const RAM: TierState = TierState {
    tier: Tier::Ram,
    capacity: 100,
    free: 50,
    line: Line::Empty,
    tried: Tried::Nothing,
};
const DISK: TierState = TierState {
    tier: Tier::Disk,
    capacity: 1_000,
    free: 500,
    line: Line::None,
    tried: Tried::Nothing,
};
const OBJECT: TierState = TierState {
    tier: Tier::Object,
    capacity: 10_000,
    free: 5_000,
    ..DISK
};

fn world() -> World<'static> {
    World {
        budget: None,
        strongest: Durability::Host,
        patience: Span::from_secs(1),
    }
}

fn bytes(size: u64) -> Request {
    Request {
        size,
        ..Request::default()
    }
}

fn spill(spill_to: SpillTarget, priority: Priority) -> Policy {
    Policy {
        priority,
        spill_to,
        ..Policy::default()
    }
}

/// A verdict in few words.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Short {
    In(Tier),
    Wait(Tier, u64),
    No(Reason),
}

fn short(verdict: &Verdict) -> Short {
    match verdict {
        Verdict::Place(place) => Short::In(place.tier),
        Verdict::Wait { place, missing, .. } => Short::Wait(place.tier, *missing),
        Verdict::Refuse(error) => Short::No(error.reason()),
    }
}

#[test]
fn room_lines_and_fallbacks_decide_where_it_goes() {
    use Short::{In, No, Wait};
    use Tier::{Disk, Ram};
    let explicit = |size| Request {
        tier: Some(Ram),
        ..bytes(size)
    };
    let falls = |size| Request {
        fallback: Some(Fallback::NextTier),
        ..explicit(size)
    };
    let line = |line| TierState { line, ..RAM };
    let tried = |tried| TierState { tried, ..RAM };
    let full_disk = TierState { free: 0, ..DISK };
    let full = No(Reason::TierFull);
    let table = [
        ("there is room", bytes(50), RAM, DISK, In(Ram)),
        ("there is too little", bytes(51), RAM, DISK, Wait(Ram, 1)),
        ("others are first", bytes(1), line(Line::Open), DISK, Wait(Ram, 0)),
        ("nothing needs no turn", bytes(0), line(Line::Full), DISK, In(Ram)),
        ("too many are first", bytes(1), line(Line::Full), DISK, In(Disk)),
        ("too many, and it was named", explicit(1), line(Line::Full), DISK, full),
        (
            "less than it seemed",
            bytes(50),
            tried(Tried::NoRoom),
            DISK,
            Wait(Ram, 0),
        ),
        ("waited in vain", bytes(50), tried(Tried::Waited), DISK, In(Disk)),
        (
            "waited in vain, and it was named",
            explicit(50),
            tried(Tried::Waited),
            DISK,
            full,
        ),
        (
            "waited in vain, and it may",
            falls(50),
            tried(Tried::Waited),
            DISK,
            In(Disk),
        ),
        ("nowhere", bytes(50), tried(Tried::Waited), full_disk, full),
        ("more than RAM ever holds", bytes(101), RAM, DISK, In(Disk)),
        (
            "the same, and it was named",
            explicit(101),
            RAM,
            DISK,
            No(Reason::BadSize),
        ),
        ("more than anything holds", bytes(1_001), RAM, DISK, No(Reason::BadSize)),
        ("too large above, full below", bytes(101), RAM, full_disk, full),
    ];
    for (what, request, ram, disk, expected) in table {
        assert_eq!(short(&place(&request, &world(), [ram, disk])), expected, "{what}");
    }
}

#[test]
fn nobody_waits_who_has_no_patience() {
    let hasty = World {
        patience: Span::ZERO,
        ..world()
    };
    assert_eq!(short(&place(&bytes(51), &hasty, [RAM, DISK])), Short::In(Tier::Disk));
    assert_eq!(short(&place(&bytes(51), &hasty, [RAM])), Short::No(Reason::TierFull));
}

#[test]
fn what_is_left_open_is_filled_in_and_contradictions_are_refused() {
    let (host, object) = (Durability::Host, Durability::Object);
    let (ram, disk, bucket) = (Some(Tier::Ram), Some(Tier::Disk), Some(Tier::Object));
    let table = [
        (None, None, Some((Tier::Ram, Durability::Volatile, None))),
        (None, Some(host), Some((Tier::Ram, host, disk))),
        (None, Some(object), Some((Tier::Ram, object, bucket))),
        (ram, Some(host), Some((Tier::Ram, host, disk))),
        (disk, None, Some((Tier::Disk, host, None))),
        (disk, Some(host), Some((Tier::Disk, host, None))),
        (disk, Some(object), Some((Tier::Disk, object, bucket))),
        (bucket, None, Some((Tier::Object, object, None))),
        (bucket, Some(host), None),
        (disk, Some(Durability::Volatile), None),
    ];
    for (tier, durability, expected) in table {
        let request = Request {
            tier,
            durability,
            ..bytes(1)
        };
        match (place(&request, &world(), [RAM, DISK, OBJECT]), expected) {
            (Verdict::Place(got), Some(expected)) => {
                assert_eq!((got.tier, got.durability, got.writes_through()), expected);
            }
            (Verdict::Refuse(error), None) => assert_eq!(error.reason(), Reason::PolicyContradiction),
            (got, _) => panic!("{tier:?} {durability:?}: {got:?}"),
        }
    }
}

#[test]
fn what_would_rather_end_or_stays_for_ever_does_not_fall_back() {
    let full = TierState {
        tried: Tried::Waited,
        ..RAM
    };
    let void = spill(SpillTarget::Void, Priority::Low);
    let never = spill(SpillTarget::Disk, Priority::Never);
    let not_below = |min_tier| Policy {
        min_tier: Some(min_tier),
        ..Policy::default()
    };
    let contradiction = Short::No(Reason::PolicyContradiction);
    let table = [
        (not_below(Tier::Ram), None, Short::No(Reason::TierFull)),
        (not_below(Tier::Ram), Some(Fallback::NextTier), contradiction),
        (not_below(Tier::Disk), None, Short::In(Tier::Disk)),
        (void, None, Short::No(Reason::TierFull)),
        (void, Some(Fallback::Refuse), Short::No(Reason::TierFull)),
        (void, Some(Fallback::NextTier), Short::No(Reason::PolicyContradiction)),
        (never, None, Short::No(Reason::TierFull)),
        (never, Some(Fallback::NextTier), Short::In(Tier::Disk)),
        (Policy::default(), Some(Fallback::Refuse), Short::No(Reason::TierFull)),
    ];
    for (policy, fallback, expected) in table {
        let request = Request {
            policy,
            fallback,
            ..bytes(1)
        };
        let verdict = place(&request, &world(), [full, DISK]);
        assert_eq!(short(&verdict), expected, "{policy:?} {fallback:?}");
    }
}

#[test]
fn nothing_is_made_below_the_slowest_tier_that_it_may_be_in() {
    let min_tier = |min_tier| Policy {
        min_tier: Some(min_tier),
        ..Policy::default()
    };
    let on_disk = |policy| Request {
        tier: Some(Tier::Disk),
        policy,
        ..bytes(1)
    };
    let verdict = |request: Request| short(&place(&request, &world(), [RAM, DISK]));
    assert_eq!(
        verdict(on_disk(min_tier(Tier::Ram))),
        Short::No(Reason::PolicyContradiction)
    );
    assert_eq!(verdict(on_disk(min_tier(Tier::Disk))), Short::In(Tier::Disk));
}

#[test]
fn a_fallback_keeps_its_promise_and_says_why() {
    let full = TierState {
        tried: Tried::Waited,
        ..RAM
    };
    let Verdict::Place(place) = place(&bytes(1), &world(), [full, DISK]) else {
        panic!("there is room on disk");
    };
    assert_eq!(place.durability, Durability::Volatile);
    assert_eq!(place.writes_through(), None);
    assert_eq!(
        place.why_not_preferred().as_deref(),
        Some("fell back: tier ram had no room in time")
    );
}

#[test]
fn nothing_falls_as_far_as_the_bucket() {
    let no_room = |state| TierState { free: 0, ..state };
    let falls = |tier| Request {
        tier,
        fallback: Some(Fallback::NextTier),
        ..bytes(1)
    };
    let waited = TierState {
        tried: Tried::Waited,
        ..RAM
    };
    for request in [falls(None), falls(Some(Tier::Disk)), bytes(1)] {
        let verdict = place(&request, &world(), [waited, no_room(DISK), OBJECT]);
        assert_eq!(short(&verdict), Short::No(Reason::TierFull), "{request:?}");
    }
    let there = place(&falls(Some(Tier::Object)), &world(), [waited, DISK, OBJECT]);
    assert_eq!(short(&there), Short::In(Tier::Object));
}

#[test]
fn quotas_come_before_waiting_and_count_the_second_copy() {
    let namespace = Namespace::default();
    let of = |bytes| World {
        budget: Some(Budget {
            namespace: &namespace,
            quota: Quota {
                bytes: Some(bytes),
                payloads: None,
            },
            used: NamespaceUse::default(),
        }),
        ..world()
    };
    let no = Short::No(Reason::QuotaExceeded);
    assert_eq!(short(&place(&bytes(60), &of(59), [RAM, DISK])), no);
    assert_eq!(
        short(&place(&bytes(60), &of(60), [RAM, DISK])),
        Short::Wait(Tier::Ram, 10)
    );
    let durable = Request {
        durability: Some(Durability::Host),
        ..bytes(30)
    };
    assert_eq!(short(&place(&durable, &of(59), [RAM, DISK])), no);
    assert_eq!(short(&place(&durable, &of(60), [RAM, DISK])), Short::In(Tier::Ram));
}

#[test]
fn a_tier_that_is_not_there_is_said_to_be_so() {
    let missing = Short::No(Reason::TierNotConfigured);
    assert_eq!(short(&place(&bytes(1), &world(), [DISK])), missing);
    assert_eq!(short(&place(&bytes(1), &world(), [])), missing);
    let weak = World {
        strongest: Durability::Volatile,
        ..world()
    };
    let disk = Request {
        tier: Some(Tier::Disk),
        ..bytes(1)
    };
    assert_eq!(
        short(&place(&disk, &weak, [RAM, DISK])),
        Short::No(Reason::PolicyContradiction)
    );
    let huge = bytes(limits::PAYLOAD_SIZE_MAX + 1);
    assert_eq!(short(&place(&huge, &world(), [RAM, DISK])), Short::No(Reason::BadSize));
}

fn states(tier: Tier) -> impl Strategy<Value = TierState> {
    let lines = prop_oneof![Just(Line::None), Just(Line::Empty), Just(Line::Open), Just(Line::Full)];
    let tried = prop_oneof![Just(Tried::Nothing), Just(Tried::NoRoom), Just(Tried::Waited)];
    (0..200u64, 0..200u64, lines, tried).prop_map(move |(capacity, free, line, tried)| TierState {
        tier,
        capacity,
        free: free.min(capacity),
        line,
        tried,
    })
}

fn requests() -> impl Strategy<Value = Request> {
    let tier = prop_oneof![Just(None), Just(Some(Tier::Ram)), Just(Some(Tier::Disk))];
    let fallback = prop_oneof![Just(None), Just(Some(Fallback::Refuse)), Just(Some(Fallback::NextTier))];
    (0..250u64, tier, fallback).prop_map(|(size, tier, fallback)| Request {
        size,
        tier,
        fallback,
        ..Request::default()
    })
}

proptest! {
    #[test]
    fn it_fits_where_it_is_put_and_an_end_is_always_reached(
        request in requests(),
        mut ram in states(Tier::Ram),
        mut disk in states(Tier::Disk),
    ) {
        // Whatever is tried fails: each verdict must rule something out until it is a refusal.
        for _ in 0..5 {
            let (place, tried) = match super::place(&request, &world(), [ram, disk]) {
                Verdict::Place(place) => {
                    let state = if place.tier == Tier::Ram { ram } else { disk };
                    prop_assert!(request.size <= state.free);
                    prop_assert_eq!(state.tried, Tried::Nothing);
                    (place, Tried::NoRoom)
                }
                Verdict::Wait { place, .. } => (place, Tried::Waited),
                Verdict::Refuse(error) => {
                    let comes_again = error.reason() == Reason::TierFull;
                    prop_assert_eq!(error.retry_delay().is_some(), comes_again);
                    return Ok(());
                }
            };
            let named = request.tier.is_some_and(|tier| tier != place.tier);
            prop_assert!(!named || request.fallback == Some(Fallback::NextTier));
            prop_assert_eq!(place.passed.is_empty(), place.tier == request.tier.unwrap_or(Tier::Ram));
            let state = if place.tier == Tier::Ram { &mut ram } else { &mut disk };
            state.tried = tried;
        }
        prop_assert!(false, "no end");
    }
}
