//! Names: where they point, who may move them, and that their history is kept.

use std::sync::Barrier;
use std::thread;

use payload_core::port::Repository;
use payload_core::{
    Actor, ChangeSet, CommitOutcome, NameChange, NameGuard, Namespace, Naming, Payload, PayloadId, PayloadName, Reason,
    Result, State, Version,
};

use super::Open;
use super::rows::{apply, claimed};
use super::sample::{Maker, at, changed, created, edited, name, set};

pub(super) fn label(text: &str) -> PayloadName {
    text.parse().expect("the test names a good name")
}

pub(super) fn naming(text: &str, guard: NameGuard, to: Option<PayloadId>) -> NameChange {
    NameChange {
        namespace: Namespace::default(),
        naming: Naming {
            name: label(text),
            guard,
        },
        to,
        actor: Actor::from_stored("uid:1000"),
        reason: Some("because".into()),
        at: at(9),
    }
}

pub(super) fn moving(change: NameChange) -> ChangeSet {
    ChangeSet {
        name: Some(change),
        ..set([])
    }
}

fn refused(result: Result<CommitOutcome>) -> Reason {
    result.unwrap_err().reason()
}

fn points_at(repo: &dyn Repository, text: &str) -> Option<PayloadId> {
    let found = repo.name(&Namespace::default(), &label(text)).unwrap();
    found.map(|row| row.payload)
}

/// Committed payloads of the default namespace.
fn actives<const N: usize>(repo: &dyn Repository, maker: &mut Maker) -> [Payload; N] {
    std::array::from_fn(|_| {
        let payload = Payload {
            state: State::Active { expires_at: None },
            ..maker.allocated()
        };
        apply(repo, set([created(&payload)]));
        payload
    })
}

/// A name is given with the payload, moved, taken away and given again; each move is remembered with who, when and why.
pub fn a_name_points_where_it_was_moved_last(open: Open<'_>) {
    let mut maker = Maker::new(71);
    let repo = claimed(open, &maker);
    let [first, second] = actives(&*repo, &mut maker);
    let third = Payload {
        state: State::Active { expires_at: None },
        ..maker.allocated()
    };
    let moves = [
        (NameGuard::Free, Some(first.id)),
        (NameGuard::PointsAt(first.id), Some(second.id)),
        (NameGuard::Any, None),
    ];
    for (guard, to) in moves {
        apply(&*repo, moving(naming("a/b", guard, to)));
        assert_eq!(points_at(&*repo, "a/b"), to);
    }
    let given = ChangeSet {
        name: Some(naming("a/b", NameGuard::Free, Some(third.id))),
        ..set([created(&third)])
    };
    apply(&*repo, given);
    let row = repo.name(&Namespace::default(), &label("a/b")).unwrap().unwrap();
    assert_eq!((row.payload, row.version.as_u64(), row.at), (third.id, 4, at(9)));
    assert_eq!(row.actor.as_str(), "uid:1000");

    let history = |before, limit| repo.name_history(&Namespace::default(), &label("a/b"), before, limit);
    let all = history(None, 10).unwrap();
    let ends: Vec<_> = all
        .iter()
        .map(|moved| (moved.version.as_u64(), moved.from, moved.to))
        .collect();
    let expected = [
        (4, None, Some(third.id)),
        (3, Some(second.id), None),
        (2, Some(first.id), Some(second.id)),
        (1, None, Some(first.id)),
    ];
    assert_eq!(ends, expected);
    assert!(
        all.iter()
            .all(|moved| moved.reason.as_deref() == Some("because") && moved.at == at(9))
    );
    assert_eq!(history(None, 1).unwrap(), all[..1]);
    assert_eq!(history(Some(Version::from_u64(3)), 10).unwrap(), all[2..]);
    assert_eq!(repo.name_history(&name("a"), &label("a/b"), None, 10).unwrap(), []);
}

/// As the core decides, and a refusal takes the whole set with it.
pub fn a_name_is_moved_only_as_its_guard_allows(open: Open<'_>) {
    let mut maker = Maker::new(72);
    let repo = claimed(open, &maker);
    let [first, second] = actives(&*repo, &mut maker);
    let open_one = maker.allocated();
    let elsewhere = Payload {
        namespace: name("a"),
        state: State::Active { expires_at: None },
        ..maker.allocated()
    };
    apply(&*repo, set([created(&open_one), created(&elsewhere)]));
    apply(&*repo, moving(naming("n", NameGuard::Free, Some(first.id))));
    let cases = [
        (NameGuard::Free, Some(second.id), Reason::NameTaken),
        (
            NameGuard::PointsAt(first.id),
            Some(open_one.id),
            Reason::PayloadNotCommitted,
        ),
        (NameGuard::PointsAt(open_one.id), Some(second.id), Reason::Conflict),
        (NameGuard::PointsAt(second.id), None, Reason::Conflict),
        (NameGuard::Any, Some(elsewhere.id), Reason::PayloadNotFound),
        (NameGuard::Any, Some(maker.payload_id()), Reason::PayloadNotFound),
    ];
    for (guard, to, reason) in cases {
        let fresh = maker.allocated();
        let set = ChangeSet {
            name: Some(naming("n", guard, to)),
            request: Some(maker.request(&fresh)),
            ..set([
                created(&fresh),
                changed(&first, &edited(&first, |after| after.size = 1)),
            ])
        };
        let request = set.request.clone().unwrap();
        assert_eq!(refused(repo.commit(set)), reason, "{guard:?}");
        assert_eq!(points_at(&*repo, "n"), Some(first.id));
        assert_eq!(repo.get(fresh.id).unwrap(), None);
        assert_eq!(repo.get(first.id).unwrap(), Some(first.clone()));
        let found = repo.find_request(&request.principal, &request.request_id).unwrap();
        assert_eq!(found, None);
    }
    let gone = moving(naming("other", NameGuard::Any, None));
    assert_eq!(refused(repo.commit(gone)), Reason::NameNotFound);
    // Whoever asks for what is so already has what it wants, and leaves no trace.
    apply(
        &*repo,
        moving(naming("n", NameGuard::PointsAt(second.id), Some(first.id))),
    );
    let history = repo.name_history(&Namespace::default(), &label("n"), None, 10);
    assert_eq!(history.unwrap().len(), 1);
}

/// The name stays on the tombstone, and is free for whoever comes next.
pub fn a_name_of_a_payload_that_has_ended_is_free(open: Open<'_>) {
    let mut maker = Maker::new(73);
    let repo = claimed(open, &maker);
    for state in [State::Deleting, State::Deleted, State::Lost] {
        let [first, second] = actives(&*repo, &mut maker);
        apply(&*repo, moving(naming("n", NameGuard::Free, Some(first.id))));
        let ended = edited(&first, |after| after.state = state);
        apply(&*repo, set([changed(&first, &ended)]));
        assert_eq!(points_at(&*repo, "n"), Some(first.id));
        assert_eq!(
            refused(repo.commit(moving(naming("m", NameGuard::Any, Some(first.id))))),
            state.kind().refusal().reason()
        );
        apply(&*repo, moving(naming("n", NameGuard::Free, Some(second.id))));
        let last = edited(&second, |after| after.state = State::Deleted);
        apply(&*repo, set([changed(&second, &last)]));
    }
}

/// In order, by prefix, in pages, of one namespace; and those of one payload.
pub fn names_are_listed_by_prefix_and_by_payload(open: Open<'_>) {
    let mut maker = Maker::new(74);
    let repo = claimed(open, &maker);
    let [first, second] = actives(&*repo, &mut maker);
    let elsewhere = Payload {
        namespace: name("a"),
        ..maker.full()
    };
    apply(&*repo, set([created(&elsewhere)]));
    let texts = ["a", "a-b", "a/b", "a/b/c", "aB", "b", "zz"];
    for (number, text) in texts.iter().enumerate() {
        let target = if number % 2 == 0 { &first } else { &second };
        apply(&*repo, moving(naming(text, NameGuard::Free, Some(target.id))));
    }
    let abroad = NameChange {
        namespace: name("a"),
        ..naming("a/abroad", NameGuard::Free, Some(elsewhere.id))
    };
    apply(&*repo, moving(abroad));
    let listed = |prefix: &str, after: Option<&str>, limit| -> Vec<String> {
        let after = after.map(label);
        let rows = repo.names(&Namespace::default(), prefix, after.as_ref(), limit);
        rows.unwrap().into_iter().map(|row| row.name.to_string()).collect()
    };
    let mut sorted = texts.to_vec();
    sorted.sort_unstable();
    assert_eq!(listed("", None, 100), sorted);
    assert_eq!(listed("a/", None, 100), ["a/b", "a/b/c"]);
    assert_eq!(listed("a/b", None, 1), ["a/b"]);
    assert_eq!(listed("a/b", Some("a/b"), 9), ["a/b/c"]);
    assert_eq!(listed("a", Some("a"), 9), ["a-b", "a/b", "a/b/c", "aB"]);
    assert_eq!(listed("a/", Some("zz"), 9), [""; 0]);
    assert_eq!(listed("b", Some("a"), 9), ["b"]);
    assert_eq!(listed("nothing", None, 9), [""; 0]);
    let of = |payload: &Payload| -> Vec<String> {
        let names = repo.names_of(payload.id).unwrap();
        names.iter().map(ToString::to_string).collect()
    };
    assert_eq!(of(&second), ["a-b", "a/b/c", "b"]);
    assert_eq!(of(&elsewhere), ["a/abroad"]);
}

/// Compare-and-set: every move starts from where the one before ended.
pub fn one_of_many_moves_of_a_name_wins(open: Open<'_>) {
    const THREADS: usize = 8;
    let mut maker = Maker::new(75);
    let repo = claimed(open, &maker);
    let [first] = actives(&*repo, &mut maker);
    let others: [Payload; THREADS] = actives(&*repo, &mut maker);
    apply(&*repo, moving(naming("n", NameGuard::Free, Some(first.id))));
    let start = Barrier::new(THREADS);
    let race = |to: PayloadId| {
        start.wait();
        repo.commit(moving(naming("n", NameGuard::PointsAt(first.id), Some(to))))
    };
    let race = &race;
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = others.iter().map(|to| scope.spawn(move || race(to.id))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winners = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(winners, 1);
    for (result, to) in results.into_iter().zip(&others) {
        match result {
            Ok(_) => assert_eq!(points_at(&*repo, "n"), Some(to.id)),
            Err(error) => assert_eq!(error.reason(), Reason::Conflict),
        }
    }
}

/// A name given at the moment at which its payload is deleted: the name is refused, or was there before.
pub fn a_payload_that_ends_at_that_moment_gets_no_name(open: Open<'_>) {
    let mut maker = Maker::new(76);
    let repo = claimed(open, &maker);
    for round in 0..20 {
        let [payload] = actives(&*repo, &mut maker);
        let text = format!("round-{round}");
        let start = Barrier::new(2);
        let named = thread::scope(|scope| {
            let naming = scope.spawn(|| {
                start.wait();
                repo.commit(moving(naming(&text, NameGuard::Free, Some(payload.id))))
            });
            start.wait();
            let deleted = edited(&payload, |after| after.state = State::Deleted);
            apply(&*repo, set([changed(&payload, &deleted)]));
            naming.join().unwrap()
        });
        match named {
            Ok(_) => assert_eq!(points_at(&*repo, &text), Some(payload.id)),
            Err(error) => {
                assert_eq!(error.reason(), Reason::PayloadDeleted);
                assert_eq!(points_at(&*repo, &text), None);
            }
        }
    }
}
