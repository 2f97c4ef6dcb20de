//! What is written comes back as it was written.

use payload_core::port::Repository;
use payload_core::{
    Actor, CommitOutcome, Durability, EventKind, EventRecord, Location, Operation, Payload, Pin, Policy, Priority,
    Replica, ReplicaState, RequestRecord, Span, SpillTarget, State, StateKind, Tier, Version,
};

use super::Open;
use super::log::history;
use super::namespaces::namespace;
use super::sample::{Maker, at, changed, created, edited, in_order, labels, name, request_id, set};

/// A handle that may write, into the namespaces that the samples are in.
pub(super) fn claimed(open: Open<'_>, maker: &Maker) -> Box<dyn Repository> {
    let repo = open();
    repo.claim(maker.node, at(0)).unwrap();
    for tenant in ["a", "a-b", "b", "tenant-7"] {
        if repo.namespace(&name(tenant)).unwrap().is_none() {
            repo.create_namespace(&namespace(tenant)).unwrap();
        }
    }
    repo
}

/// Writes changes that nothing stands against.
pub(super) fn apply(repo: &dyn Repository, set: payload_core::ChangeSet) {
    assert_eq!(repo.commit(set).unwrap(), CommitOutcome::Applied);
}

fn get(repo: &dyn Repository, payload: &Payload) -> Payload {
    repo.get(payload.id).unwrap().unwrap()
}

/// Insert and get, with something in every field.
pub fn a_row_comes_back_with_every_field(open: Open<'_>) {
    let mut maker = Maker::new(1);
    let repo = claimed(open, &maker);
    for payload in [maker.full(), maker.allocated()] {
        assert_eq!(repo.get(payload.id).unwrap(), None);
        let request = RequestRecord {
            operation: Operation::Put,
            version: Version::from_u64(u64::from(u32::MAX)),
            ..maker.request(&payload)
        };
        let mut set = set([created(&payload)]);
        set.request = Some(request.clone());
        set.durability = repo.strongest();
        apply(&*repo, set);
        assert_eq!(get(&*repo, &payload), in_order(&payload));
        let found = repo.find_request(&request.principal, &request.request_id).unwrap();
        assert_eq!(found, Some(request.clone()));
        let other = repo.find_request(&request.principal, &request_id("other")).unwrap();
        assert_eq!(other, None);
    }
}

/// Every state, kind, class and word that a row can hold.
pub fn every_word_comes_back(open: Open<'_>) {
    let mut maker = Maker::new(2);
    let repo = claimed(open, &maker);
    let states = [
        State::Allocated { until: at(-1) },
        State::Active { expires_at: None },
        State::Active {
            expires_at: Some(at(1)),
        },
        State::Deleting,
        State::Deleted,
        State::Aborted,
        State::Lost,
    ];
    for (step, kind) in EventKind::ALL.into_iter().enumerate() {
        let location = Location::Segment(maker.segment());
        let payload = Payload {
            state: states[step % states.len()],
            tier: Tier::ALL[step % Tier::ALL.len()],
            durability: Durability::ALL[step % Durability::ALL.len()],
            policy: Policy {
                priority: Priority::ALL[step % Priority::ALL.len()],
                spill_to: SpillTarget::ALL[step % SpillTarget::ALL.len()],
                rederivable: step % 3 == 0,
                min_tier: (step % 2 == 0).then(|| Tier::ALL[step / 2 % Tier::ALL.len()]),
                min_residency: (step % 5 == 0).then(|| Span::new(step as u64, 7)),
                write_behind: (step % 7 == 0).then(|| Durability::ALL[step / 7 % Durability::ALL.len()]),
            },
            replicas: vec![Replica {
                pin: [None, Some(Pin::Unlimited), Some(Pin::Until(at(17)))][step % 3],
                ..maker.replica(ReplicaState::ALL[step % ReplicaState::ALL.len()], location, 7)
            }],
            ..maker.allocated()
        };
        let mut change = created(&payload);
        change.event = EventRecord {
            kind,
            actor: Actor::server("expiry"),
            reason: (step % 2 == 0).then(|| "because, \"ü\"".into()),
            at: at(-1_790_000_000_000_001),
            from: (step > 0).then(|| StateKind::ALL[step % StateKind::ALL.len()]),
            to: StateKind::ALL[(step + 1) % StateKind::ALL.len()],
            note: (step % 3 == 0).then(|| maker.note(step)),
        };
        let event = change.event.clone();
        let mut set = set([change]);
        set.request = Some(RequestRecord {
            operation: Operation::ALL[step % Operation::ALL.len()],
            ..maker.request(&payload)
        });
        let request = set.request.clone();
        apply(&*repo, set);
        assert_eq!(get(&*repo, &payload), payload);
        assert_eq!(history(&*repo, &payload), [(Version::FIRST, event)]);
        let key = request.clone().unwrap();
        assert_eq!(repo.find_request(&key.principal, &key.request_id).unwrap(), request);
    }
}

/// From one version to the next, everything that may change.
pub fn an_update_replaces_the_row(open: Open<'_>) {
    let mut maker = Maker::new(3);
    let repo = claimed(open, &maker);
    let first = maker.allocated();
    let model = maker.full();
    let second = edited(&first, |after| {
        let own = after.clone();
        *after = Payload {
            id: own.id,
            namespace: own.namespace,
            owner: own.owner,
            created_at: own.created_at,
            version: own.version,
            ..model
        };
    });
    let third = edited(&second, |after| {
        after.state = State::Deleted;
        after.digest = None;
        after.committed_at = None;
        after.ttl = None;
        after.labels.clear();
        after.replicas.clear();
    });
    apply(&*repo, set([created(&first)]));
    for (before, after) in [(&first, &second), (&second, &third)] {
        apply(&*repo, set([changed(before, after)]));
        assert_eq!(get(&*repo, after), in_order(after));
    }
}

/// Labels are added, replaced and removed; whatever text they hold.
pub fn labels_change_one_by_one(open: Open<'_>) {
    let mut maker = Maker::new(4);
    let repo = claimed(open, &maker);
    let mut last = Payload {
        labels: labels(&[("b", "2"), ("a", "1"), ("c", "a\0b")]),
        ..maker.allocated()
    };
    apply(&*repo, set([created(&last)]));
    let steps: [&[(&str, &str)]; 4] = [
        &[("a", "1"), ("b", "other"), ("d", "\u{10ffff}\n\r'")],
        &[("d", "\u{10ffff}\n\r'")],
        &[],
        &[("a", "back")],
    ];
    for step in steps {
        assert_eq!(get(&*repo, &last), in_order(&last));
        let next = edited(&last, |after| after.labels = labels(step));
        apply(&*repo, set([changed(&last, &next)]));
        last = next;
    }
    assert_eq!(get(&*repo, &last), last);
}

/// Replicas are added, changed in place and removed.
pub fn replicas_change_one_by_one(open: Open<'_>) {
    let mut maker = Maker::new(5);
    let repo = claimed(open, &maker);
    let first = maker.allocated();
    let file = Location::File(maker.file());
    let copy = maker.replica(ReplicaState::Copying, file, 8_192);
    let second = edited(&first, |after| {
        after.replicas[0].state = ReplicaState::Ready;
        after.replicas[0].charged = 1;
        after.replicas.push(copy);
    });
    let third = edited(&second, |after| {
        after.replicas[1].state = ReplicaState::Ready;
        after.replicas.remove(0);
    });
    let fourth = edited(&third, |after| after.replicas.clear());
    apply(&*repo, set([created(&first)]));
    for (before, after) in [(&first, &second), (&second, &third), (&third, &fourth)] {
        apply(&*repo, set([changed(before, after)]));
        assert_eq!(get(&*repo, after), in_order(after));
    }
}

/// One event for each version, never touched again.
pub fn events_are_kept_in_order_for_ever(open: Open<'_>) {
    let mut maker = Maker::new(6);
    let repo = claimed(open, &maker);
    let (mut last, other) = (maker.allocated(), maker.allocated());
    let mut expected = Vec::new();
    let first = created(&last);
    expected.push((last.version, first.event.clone()));
    apply(&*repo, set([first, created(&other)]));
    for step in 0..300 {
        let next = edited(&last, |after| after.size = step);
        let mut change = changed(&last, &next);
        change.event.reason = Some(format!("step {step}").into());
        expected.push((next.version, change.event.clone()));
        apply(&*repo, set([change]));
        last = next;
    }
    let refused = edited(&other, |after| after.version = last.version);
    assert!(repo.commit(set([changed(&other, &refused)])).is_err());
    assert_eq!(history(&*repo, &last), expected);
    assert_eq!(history(&*repo, &other).len(), 1);
    assert_eq!(history(&*repo, &maker.allocated()), []);
}

/// A commit is visible to every handle as soon as it is acknowledged.
pub fn what_was_committed_is_there_for_other_handles(open: Open<'_>) {
    let mut maker = Maker::new(7);
    let (repo, other) = (claimed(open, &maker), open());
    for _ in 0..20 {
        let payload = maker.allocated();
        apply(&*repo, set([created(&payload)]));
        assert_eq!(get(&*other, &payload), payload);
    }
}
