//! Namespaces: there or not, changed from the version that was seen, and never taken from under a payload.

use std::sync::Barrier;
use std::thread;

use payload_core::port::Repository;
use payload_core::{Actor, CommitOutcome, Namespace, NamespaceRecord, Payload, Quota, Reason, Result, State, Version};

use super::Open;
use super::rows::{apply, claimed};
use super::sample::{Maker, at, changed, created, edited, name, set};

/// A namespace in its first version.
pub(super) fn namespace(text: &str) -> NamespaceRecord {
    NamespaceRecord {
        name: name(text),
        version: Version::FIRST,
        quota: Quota::default(),
        created_at: at(7),
        created_by: Actor::from_stored("uid:1000"),
    }
}

fn reason<T: std::fmt::Debug>(result: Result<T>) -> Reason {
    result.unwrap_err().reason()
}

fn names(repo: &dyn Repository, after: Option<&Namespace>, limit: u32) -> Vec<String> {
    let rows = repo.namespaces(after, limit).unwrap();
    rows.iter().map(|row| row.name.to_string()).collect()
}

/// Whoever names none means this one: it can be changed, but not made or removed.
pub fn the_default_namespace_is_always_there(open: Open<'_>) {
    let maker = Maker::new(61);
    let repo = claimed(open, &maker);
    let default = Namespace::default();
    let row = repo.namespace(&default).unwrap().unwrap();
    assert_eq!((row.version, row.quota), (Version::FIRST, Quota::default()));
    assert_eq!(reason(repo.create_namespace(&row)), Reason::NamespaceExists);
    assert_eq!(
        reason(repo.remove_namespace(&default, Version::FIRST)),
        Reason::NamespaceInUse
    );
    repo.claim(maker.node, at(99)).unwrap();
    assert_eq!(repo.namespace(&default).unwrap(), Some(row));
}

/// With every field, by name and in pages.
pub fn a_namespace_comes_back_until_it_is_removed(open: Open<'_>) {
    let repo = open();
    repo.claim(Maker::new(62).node, at(0)).unwrap();
    let first = NamespaceRecord {
        quota: Quota {
            bytes: Some(1 << 50),
            payloads: Some(0),
        },
        ..namespace("x")
    };
    for row in [&first, &namespace("x-1"), &namespace("w_9")] {
        repo.create_namespace(row).unwrap();
    }
    assert_eq!(reason(repo.create_namespace(&namespace("x"))), Reason::NamespaceExists);
    assert_eq!(repo.namespace(&first.name).unwrap(), Some(first.clone()));
    assert_eq!(names(&*repo, None, 10), ["default", "w_9", "x", "x-1"]);
    assert_eq!(names(&*repo, Some(&name("w_9")), 1), ["x"]);
    assert_eq!(names(&*repo, Some(&name("x")), 10), ["x-1"]);
    assert_eq!(names(&*repo, None, 0), [""; 0]);

    let second = NamespaceRecord {
        version: first.version.next(),
        quota: Quota::default(),
        ..first.clone()
    };
    repo.update_namespace(&second).unwrap();
    assert_eq!(repo.namespace(&first.name).unwrap(), Some(second.clone()));
    for stale in [&first, &second] {
        assert_eq!(reason(repo.update_namespace(stale)), Reason::Conflict);
    }
    assert_eq!(
        reason(repo.remove_namespace(&first.name, first.version)),
        Reason::Conflict
    );
    repo.remove_namespace(&first.name, second.version).unwrap();
    assert_eq!(repo.namespace(&first.name).unwrap(), None);
    assert_eq!(
        reason(repo.remove_namespace(&first.name, second.version)),
        Reason::NamespaceNotFound
    );
    assert_eq!(reason(repo.update_namespace(&second)), Reason::NamespaceNotFound);
    repo.create_namespace(&first).unwrap();
}

/// The whole set is refused; the namespace of a payload that is there already is not asked for.
pub fn a_payload_is_made_in_a_namespace_that_is_there(open: Open<'_>) {
    let mut maker = Maker::new(63);
    let repo = claimed(open, &maker);
    let homeless = Payload {
        namespace: name("nowhere"),
        ..maker.allocated()
    };
    let neighbour = maker.allocated();
    let refused = repo.commit(set([created(&neighbour), created(&homeless)]));
    assert_eq!(reason(refused), Reason::NamespaceNotFound);
    assert_eq!(repo.get(neighbour.id).unwrap(), None);
    repo.create_namespace(&namespace("nowhere")).unwrap();
    apply(&*repo, set([created(&neighbour), created(&homeless)]));
}

/// What has not ended keeps it; tombstones do not, stay where they are, and can still be changed.
pub fn a_namespace_is_removed_when_all_in_it_has_ended(open: Open<'_>) {
    let mut maker = Maker::new(64);
    let repo = claimed(open, &maker);
    let tenant = namespace("tenant-64");
    repo.create_namespace(&tenant).unwrap();
    let mut last = Payload {
        namespace: tenant.name.clone(),
        ..maker.allocated()
    };
    apply(&*repo, set([created(&last)]));
    for state in [State::Active { expires_at: None }, State::Deleting, State::Lost] {
        let refused = repo.remove_namespace(&tenant.name, tenant.version);
        assert_eq!(reason(refused), Reason::NamespaceInUse, "{:?}", last.state);
        let next = edited(&last, |after| after.state = state);
        apply(&*repo, set([changed(&last, &next)]));
        last = next;
    }
    repo.remove_namespace(&tenant.name, tenant.version).unwrap();
    assert_eq!(repo.get(last.id).unwrap().unwrap(), last);
    let forgotten = edited(&last, |after| after.state = State::Deleted);
    apply(&*repo, set([changed(&last, &forgotten)]));
}

/// A removal and a new payload at the same moment: one of them is refused, and no payload is left without a home.
pub fn a_namespace_is_not_removed_under_a_new_payload(open: Open<'_>) {
    let maker = Maker::new(65);
    let repo = claimed(open, &maker);
    for round in 0..20 {
        let tenant = namespace(&format!("round-{round}"));
        repo.create_namespace(&tenant).unwrap();
        let start = Barrier::new(2);
        let mut maker = Maker::new(3_000 + round);
        let payload = Payload {
            namespace: tenant.name.clone(),
            ..maker.allocated()
        };
        let (removed, made) = thread::scope(|scope| {
            let making = scope.spawn(|| {
                start.wait();
                repo.commit(set([created(&payload)]))
            });
            start.wait();
            let removed = repo.remove_namespace(&tenant.name, tenant.version);
            (removed, making.join().unwrap())
        });
        match removed {
            Ok(()) => assert_eq!(reason(made), Reason::NamespaceNotFound),
            Err(error) => {
                assert_eq!(error.reason(), Reason::NamespaceInUse);
                assert_eq!(made.unwrap(), CommitOutcome::Applied);
            }
        }
    }
}

/// Of many who make it, change it or remove it at once, one does.
pub fn one_of_many_changes_of_a_namespace_wins(open: Open<'_>) {
    let repo = claimed(open, &Maker::new(66));
    let first = namespace("contended");
    let second = NamespaceRecord {
        version: first.version.next(),
        ..first.clone()
    };
    let attempts: [(&(dyn Fn() -> Result<()> + Sync), Reason); 3] = [
        (&|| repo.create_namespace(&first), Reason::NamespaceExists),
        (&|| repo.update_namespace(&second), Reason::Conflict),
        (
            &|| repo.remove_namespace(&first.name, second.version),
            Reason::NamespaceNotFound,
        ),
    ];
    for (attempt, refusal) in attempts {
        let start = Barrier::new(8);
        let results: Vec<Result<()>> = thread::scope(|scope| {
            let one = || {
                start.wait();
                attempt()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert!(lost.into_iter().all(|result| reason(result) == refusal));
    }
}

/// A server that has been replaced changes none of them.
pub fn fault_57_an_earlier_claimant_changes_no_namespace(open: Open<'_>) {
    let maker = Maker::new(67);
    let (old, new) = (claimed(open, &maker), open());
    let row = namespace("tenant-67");
    old.create_namespace(&row).unwrap();
    new.claim(maker.node, at(1)).unwrap();
    let next = NamespaceRecord {
        version: row.version.next(),
        ..row.clone()
    };
    assert_eq!(reason(old.create_namespace(&namespace("late"))), Reason::Fenced);
    assert_eq!(reason(old.update_namespace(&next)), Reason::Fenced);
    assert_eq!(reason(old.remove_namespace(&row.name, row.version)), Reason::Fenced);
    assert_eq!(new.namespace(&row.name).unwrap(), Some(row));
}
