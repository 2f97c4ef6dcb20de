//! What can be asked of a repository besides single rows.

use payload_core::port::{Repository, Usage};
use payload_core::{
    ChangeSet, Durability, Location, Payload, PayloadId, Pin, Replica, ReplicaState, RequestRecord, Span, State,
    StateKind, Tier,
};

use super::Open;
use super::rows::{apply, claimed};
use super::sample::{Maker, at, changed, created, edited, name, set};

/// One payload of each state, and one more that lives for ever.
fn one_of_each_state(maker: &mut Maker) -> Vec<Payload> {
    [
        State::Allocated { until: at(10) },
        State::Active {
            expires_at: Some(at(30)),
        },
        State::Active { expires_at: None },
        State::Deleting,
        State::Deleted,
        State::Aborted,
        State::Lost,
    ]
    .into_iter()
    .map(|state| Payload {
        state,
        ..maker.allocated()
    })
    .collect()
}

/// Only what has a deadline, and only once it is reached.
pub fn what_is_due_comes_earliest_first(open: Open<'_>) {
    let (mut maker, neighbour) = (Maker::new(33), Maker::new(34));
    let repo = claimed(open, &maker);
    let mut timed = Vec::new();
    for deadline in [40, 20, 30, 20, 50] {
        let until = at(deadline);
        let state = if deadline == 30 {
            State::Active {
                expires_at: Some(until),
            }
        } else {
            State::Allocated { until }
        };
        let payload = Payload {
            state,
            ..maker.allocated()
        };
        apply(&*repo, set([created(&payload)]));
        timed.push((until, payload.id));
        // A neighbour's allocation is the neighbour's business, and what is active is everybody's.
        let mut others = Payload {
            id: maker.payload_id(),
            ..payload
        };
        others.replicas[0].node = neighbour.node;
        apply(&*repo, set([created(&others)]));
        if others.state.kind() == StateKind::Active {
            timed.push((until, others.id));
        }
    }
    for state in [State::Active { expires_at: None }, State::Deleting, State::Deleted] {
        apply(
            &*repo,
            set([created(&Payload {
                state,
                ..maker.allocated()
            })]),
        );
    }
    timed.sort();
    for (now, count) in [(19, 0), (20, 2), (29, 2), (30, 4), (50, 6), (1_000, 6)] {
        let expected: Vec<_> = timed[..count].iter().map(|(_, id)| *id).collect();
        assert_eq!(repo.due(maker.node, at(now), 100).unwrap(), expected);
        assert_eq!(repo.due(maker.node, at(now), 2).unwrap(), expected[..count.min(2)]);
    }
}

/// It comes and goes with the payloads' states.
pub fn the_next_deadline_is_the_earliest_of_live_payloads(open: Open<'_>) {
    let (mut maker, neighbour) = (Maker::new(34), Maker::new(33).node);
    let repo = claimed(open, &maker);
    let node = maker.node;
    assert_eq!(repo.next_deadline(node).unwrap(), None);
    let first = Payload {
        state: State::Allocated { until: at(-7) },
        ..maker.allocated()
    };
    let other = Payload {
        state: State::Active {
            expires_at: Some(at(90)),
        },
        ..maker.allocated()
    };
    apply(&*repo, set([created(&first), created(&other)]));
    assert_eq!(repo.next_deadline(node).unwrap(), Some(at(-7)));
    assert_eq!(repo.next_deadline(neighbour).unwrap(), Some(at(90)));
    let second = edited(&first, |after| {
        after.state = State::Active {
            expires_at: Some(at(100)),
        }
    });
    apply(&*repo, set([changed(&first, &second)]));
    assert_eq!(repo.next_deadline(node).unwrap(), Some(at(90)));
    let deleted = edited(&other, |after| after.state = State::Deleting);
    apply(&*repo, set([changed(&other, &deleted)]));
    assert_eq!(repo.next_deadline(node).unwrap(), Some(at(100)));
}

fn pinned(mut replica: Replica) -> Replica {
    replica.pin = Some(Pin::Until(at(7)));
    replica
}

/// What of the node is unsettled, what it has in memory, what is pinned there, and what owes a copy; each once, in pages. And what it has to drain.
pub fn a_starting_node_finds_what_it_must_know(open: Open<'_>) {
    let (mut maker, neighbour) = (Maker::new(35), Maker::new(36));
    let repo = claimed(open, &maker);
    let mut expected = Vec::new();
    for round in 0..8 {
        for payload in one_of_each_state(&mut maker) {
            let on_disk = Location::File(maker.file());
            let replica = maker.replica(ReplicaState::Ready, on_disk, 1);
            let mut payload = payload;
            match round {
                0 => {}
                1 => payload.replicas = vec![replica],
                2 => payload.replicas[0].node = neighbour.node,
                3 => payload.replicas = vec![pinned(replica)],
                4 => {
                    payload.replicas = vec![pinned(replica)];
                    payload.replicas[0].node = neighbour.node;
                }
                5 => {
                    payload.replicas = vec![replica];
                    payload.policy.write_behind = Some(Durability::Object);
                }
                6 => {
                    payload.replicas = vec![replica];
                    payload.policy.write_behind = Some(payload.durability);
                }
                _ => payload.replicas.extend([replica]),
            }
            let mut own = payload.replicas_of(maker.node);
            let in_mind = own.any(|held| held.tier() == Tier::Ram || held.pin.is_some());
            let unsettled = matches!(payload.state.kind(), StateKind::Allocated | StateKind::Deleting);
            let owing = payload.owes().is_some();
            if in_mind || (unsettled || owing) && payload.is_on(maker.node) {
                expected.push(payload.clone());
            }
            apply(&*repo, set([created(&payload)]));
        }
    }
    let mut expected: Vec<Payload> = expected.iter().map(super::sample::in_order).collect();
    expected.sort_by_key(|payload| payload.id);
    for limit in [1, 3, 100] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = repo.resident(maker.node, after, limit).unwrap();
            assert!(page.len() <= limit as usize);
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            seen.extend(page);
        }
        assert_eq!(seen, expected, "pages of {limit}");
    }
    let deleting = expected
        .iter()
        .filter(|payload| payload.state.kind() == StateKind::Deleting);
    let deleting: Vec<PayloadId> = deleting.map(|payload| payload.id).collect();
    assert_eq!(repo.deletions(maker.node, None, 100).unwrap(), deleting);
    assert_eq!(
        repo.deletions(maker.node, Some(deleting[0]), 1).unwrap(),
        deleting[1..2]
    );
    assert_eq!(repo.deletions(neighbour.node, None, 100).unwrap().len(), 2);
}

/// Shared containers count until their last replica is gone; memfds and files are told apart.
pub fn containers_are_in_use_while_a_replica_is_in_them(open: Open<'_>) {
    let mut maker = Maker::new(37);
    let repo = claimed(open, &maker);
    let (slab, pack) = (maker.segment(), maker.file());
    let alias = payload_core::FileId::from_bytes(*slab.as_bytes()).unwrap();
    let mut sharing = |state, offset| {
        let places = [Location::Slab { slab, offset }, Location::Pack { pack, offset }];
        let replicas = places.map(|place| maker.replica(state, place, 10)).to_vec();
        Payload {
            replicas,
            ..maker.allocated()
        }
    };
    let first = sharing(ReplicaState::Copying, 0);
    let second = sharing(ReplicaState::Draining, 64);
    let asked = [
        Location::Segment(slab).container(),
        Location::File(pack).container(),
        Location::File(alias).container(),
    ];
    let in_use = || repo.containers_in_use(&asked).unwrap();
    assert_eq!(in_use(), [false, false, false]);
    apply(&*repo, set([created(&first), created(&second)]));
    assert_eq!(in_use(), [true, true, false]);
    let gone = edited(&first, |after| after.replicas.clear());
    apply(&*repo, set([changed(&first, &gone)]));
    assert_eq!(in_use(), [true, true, false]);
    let half = edited(&second, |after| {
        after.replicas.retain(|replica| replica.tier() == Tier::Ram);
    });
    apply(&*repo, set([changed(&second, &half)]));
    assert_eq!(in_use(), [true, false, false]);
    assert_eq!(repo.containers_in_use(&[]).unwrap(), [] as [bool; 0]);
}

/// In order, in pages, with what each is charged there and not elsewhere.
pub fn payloads_in_a_container_come_in_pages(open: Open<'_>) {
    let mut maker = Maker::new(38);
    let repo = claimed(open, &maker);
    let (slab, pack) = (maker.segment(), maker.file());
    let rows: Vec<Payload> = (0..5_u64)
        .map(|number| {
            let offset = number * 64;
            let replicas = vec![
                maker.replica(ReplicaState::Ready, Location::Slab { slab, offset }, 10 + number),
                maker.replica(ReplicaState::Ready, Location::Pack { pack, offset }, 100 + number),
            ];
            Payload {
                replicas,
                ..maker.allocated()
            }
        })
        .collect();
    rows.iter().for_each(|row| apply(&*repo, set([created(row)])));
    let container = Location::File(pack).container();
    let mut expected: Vec<_> = rows.iter().map(|row| (row.id, row.replicas[1].charged)).collect();
    expected.sort_unstable();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = repo.payloads_in(container, after, 2).unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        found.extend(page);
    }
    assert_eq!(found, expected);
    let gone = edited(&rows[2], |after| {
        after.replicas.retain(|replica| replica.tier() == Tier::Ram);
    });
    apply(&*repo, set([changed(&rows[2], &gone)]));
    assert_eq!(repo.payloads_in(container, None, 100).unwrap().len(), 4);
    let slab = Location::Segment(slab).container();
    assert_eq!(repo.payloads_in(slab, None, 100).unwrap().len(), 5);
}

/// The counters of a node, added up again from its rows.
pub(super) fn summed(rows: &[Payload], node: payload_core::NodeId) -> Vec<Usage> {
    let mut sums: Vec<Usage> = Vec::new();
    for row in rows {
        for replica in row.replicas.iter().filter(|replica| replica.node == node) {
            let (tier, namespace) = (replica.tier(), &row.namespace);
            match sums
                .iter_mut()
                .find(|sum| sum.tier == tier && sum.namespace == *namespace)
            {
                Some(sum) => (sum.replicas, sum.charged) = (sum.replicas + 1, sum.charged + replica.charged),
                None => sums.push(Usage {
                    tier,
                    namespace: namespace.clone(),
                    replicas: 1,
                    charged: replica.charged,
                }),
            }
        }
    }
    sums.sort_by(|a, b| (a.tier, &a.namespace).cmp(&(b.tier, &b.namespace)));
    sums
}

/// I5: what the counters say is what the rows add up to, at every step of a replica's life.
pub fn usage_is_the_sum_over_replicas(open: Open<'_>) {
    let (mut maker, neighbour) = (Maker::new(38), Maker::new(39));
    let repo = claimed(open, &maker);
    let mut rows = Vec::new();
    for tenant in ["b", "a"] {
        let plain = Payload {
            namespace: name(tenant),
            ..maker.allocated()
        };
        let full = Payload {
            namespace: name(tenant),
            ..maker.full()
        };
        let mut abroad = Payload {
            namespace: name(tenant),
            ..maker.allocated()
        };
        abroad.replicas[0].node = neighbour.node;
        rows.extend([plain, full, abroad]);
    }
    let check = |rows: &[Payload]| {
        for node in [maker.node, neighbour.node] {
            assert_eq!(repo.usage(node).unwrap(), summed(rows, node));
        }
    };
    check(&[]);
    apply(&*repo, set(rows.iter().map(created).collect::<Vec<_>>()));
    check(&rows);
    let edits: [fn(&mut Payload); 4] = [
        |after| after.replicas[0].charged = 123,
        |after| after.replicas[0].state = ReplicaState::Draining,
        |after| after.replicas.truncate(1),
        |after| after.replicas.clear(),
    ];
    for edit in edits {
        for row in &mut rows {
            let next = edited(row, edit);
            apply(&*repo, set([changed(row, &next)]));
            *row = next;
        }
        check(&rows);
    }
    assert_eq!(repo.usage(maker.node).unwrap(), []);
}

/// The oldest go first; what is younger stays.
pub fn old_requests_are_forgotten_a_few_at_a_time(open: Open<'_>) {
    let mut maker = Maker::new(40);
    let repo = claimed(open, &maker);
    let payload = maker.allocated();
    let mut records = Vec::new();
    for age in [5, 1, 9, 3, 7, 3] {
        let record = RequestRecord {
            at: at(age),
            ..maker.request(&payload)
        };
        apply(
            &*repo,
            ChangeSet {
                request: Some(record.clone()),
                ..set([])
            },
        );
        records.push(record);
    }
    let known = |repo: &dyn Repository| -> Vec<i64> {
        let found = records
            .iter()
            .filter_map(|record| repo.find_request(&record.principal, &record.request_id).unwrap());
        let mut ages: Vec<i64> = found.map(|record| record.at.as_micros() - at(0).as_micros()).collect();
        ages.sort_unstable();
        ages
    };
    assert_eq!(repo.forget_requests(at(1), 10).unwrap(), 0);
    assert_eq!(repo.forget_requests(at(7), 2).unwrap(), 2);
    assert_eq!(known(&*repo), [3, 5, 7, 9]);
    assert_eq!(repo.forget_requests(at(7), 2).unwrap(), 2);
    assert_eq!(repo.forget_requests(at(7), 2).unwrap(), 0);
    assert_eq!(known(&*repo), [7, 9]);
    assert_eq!(
        repo.forget_requests(at(0).after(Span::from_secs(9)), u32::MAX).unwrap(),
        2
    );
    assert_eq!(known(&*repo), Vec::<i64>::new());
}

/// With and without a claim.
pub fn a_working_repository_says_so(open: Open<'_>) {
    let maker = Maker::new(41);
    open().check().unwrap();
    let repo = claimed(open, &maker);
    repo.check().unwrap();
    repo.check().unwrap();
}
