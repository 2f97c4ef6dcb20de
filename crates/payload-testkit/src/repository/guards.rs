//! What a repository refuses, and that a refusal leaves no trace.

use payload_core::port::Repository;
use payload_core::{ChangeSet, CommitOutcome, Digest, Durability, Payload, Principal, Reason, RequestRecord, Version};

use super::Open;
use super::log::history;
use super::rows::{apply, claimed};
use super::sample::{Maker, at, changed, created, edited, set};

fn refused(repo: &dyn Repository, set: ChangeSet) -> Reason {
    repo.commit(set).unwrap_err().reason()
}

fn conflicts(repo: &dyn Repository, set: ChangeSet) {
    assert_eq!(repo.commit(set).unwrap(), CommitOutcome::Conflict);
}

fn current(repo: &dyn Repository, payload: &Payload) -> Payload {
    repo.get(payload.id).unwrap().unwrap()
}

/// An id is inserted once.
pub fn a_new_payload_must_be_new(open: Open<'_>) {
    let mut maker = Maker::new(11);
    let repo = claimed(open, &maker);
    let first = maker.allocated();
    apply(&*repo, set([created(&first)]));
    let usurper = Payload {
        id: first.id,
        ..maker.allocated()
    };
    conflicts(&*repo, set([created(&usurper)]));
    assert_eq!(current(&*repo, &first), first);
    assert_eq!(history(&*repo, &first).len(), 1);
}

/// Neither from an old version, nor from one to come, nor of a payload that is not there.
pub fn a_change_must_start_from_the_current_version(open: Open<'_>) {
    let mut maker = Maker::new(12);
    let repo = claimed(open, &maker);
    let first = maker.allocated();
    let second = edited(&first, |after| after.size = 2);
    let third = edited(&second, |after| after.size = 3);
    let stranger = maker.allocated();
    apply(&*repo, set([created(&first)]));
    conflicts(&*repo, set([changed(&second, &third)]));
    apply(&*repo, set([changed(&first, &second)]));
    let late = edited(&first, |after| after.size = 22);
    conflicts(&*repo, set([changed(&first, &late)]));
    conflicts(&*repo, set([changed(&stranger, &edited(&stranger, |_| ()))]));
    assert_eq!(current(&*repo, &first), second);
    assert_eq!(repo.get(stranger.id).unwrap(), None);
    assert_eq!(history(&*repo, &first).len(), 2);
}

/// A change that no decision can have made is a fault of the server, not a conflict.
pub fn a_change_must_lead_to_the_next_version(open: Open<'_>) {
    let mut maker = Maker::new(13);
    let repo = claimed(open, &maker);
    let first = maker.allocated();
    apply(&*repo, set([created(&first)]));
    let skips = edited(&first, |after| after.version = Version::from_u64(3));
    let stays = edited(&first, |after| after.version = first.version);
    let renamed = Payload {
        id: maker.payload_id(),
        ..edited(&first, |_| ())
    };
    let moved = edited(&first, |after| after.namespace = super::sample::name("elsewhere"));
    for bad in [skips, stays, renamed, moved] {
        assert_eq!(refused(&*repo, set([changed(&first, &bad)])), Reason::Internal);
    }
    let late = Payload {
        version: Version::from_u64(2),
        ..maker.allocated()
    };
    assert_eq!(refused(&*repo, set([created(&late)])), Reason::Internal);
    assert_eq!(current(&*repo, &first), first);
}

/// The second use gets the record of the first, whatever else it says; it is looked for before versions.
pub fn a_request_id_works_once(open: Open<'_>) {
    let mut maker = Maker::new(14);
    let repo = claimed(open, &maker);
    let (first, second) = (maker.allocated(), maker.allocated());
    let record = maker.request(&first);
    let with = |payload: &Payload, record: &RequestRecord| ChangeSet {
        request: Some(record.clone()),
        ..set([created(payload)])
    };
    apply(&*repo, with(&first, &record));
    let other = RequestRecord {
        fingerprint: Digest::of(b"other"),
        payload: second.id,
        ..record.clone()
    };
    for (payload, retry) in [(&first, &record), (&second, &record), (&second, &other)] {
        let outcome = repo.commit(with(payload, retry)).unwrap();
        assert_eq!(outcome, CommitOutcome::Duplicate(record.clone()));
    }
    assert_eq!(repo.get(second.id).unwrap(), None);
    let stranger = RequestRecord {
        principal: Principal::uid(1),
        payload: second.id,
        ..record.clone()
    };
    apply(&*repo, with(&second, &stranger));
    let found = |record: &RequestRecord| repo.find_request(&record.principal, &record.request_id).unwrap();
    assert_eq!(
        (found(&record), found(&stranger)),
        (Some(record.clone()), Some(stranger.clone()))
    );
}

/// One bad change, wherever it stands, keeps the good ones, the labels, the counters and the request out.
pub fn a_set_is_applied_as_a_whole_or_not_at_all(open: Open<'_>) {
    let mut maker = Maker::new(15);
    let repo = claimed(open, &maker);
    let (old, new, full) = (maker.allocated(), maker.allocated(), maker.full());
    apply(&*repo, set([created(&old)]));
    let newer = edited(&old, |after| {
        after.replicas.clear();
        after.labels = super::sample::labels(&[("a", "b")]);
    });
    let stale = edited(&newer, |_| ());
    let usage = repo.usage(maker.node).unwrap();
    let good = [created(&new), created(&full), changed(&old, &newer)];
    let bad = [
        created(&old),
        changed(&newer, &stale),
        changed(&stale, &edited(&stale, |_| ())),
    ];
    for place in 0..=good.len() {
        let mut changes = good.to_vec();
        changes.insert(place, bad[place % bad.len()].clone());
        if place == good.len() {
            // After the good ones, `old` is at the version that the second bad change starts from.
            changes[place] = bad[0].clone();
        }
        let request = maker.request(&new);
        conflicts(
            &*repo,
            ChangeSet {
                request: Some(request.clone()),
                ..set(changes)
            },
        );
        assert_eq!(current(&*repo, &old), old);
        assert_eq!((repo.get(new.id).unwrap(), repo.get(full.id).unwrap()), (None, None));
        assert_eq!(history(&*repo, &new), []);
        assert_eq!(history(&*repo, &old).len(), 1);
        assert_eq!(repo.usage(maker.node).unwrap(), usage);
        assert_eq!(
            repo.find_request(&request.principal, &request.request_id).unwrap(),
            None
        );
    }
    apply(&*repo, set(good));
}

/// Changes build on each other: a payload can be allocated and committed at once.
pub fn a_set_may_change_one_payload_twice(open: Open<'_>) {
    let mut maker = Maker::new(16);
    let repo = claimed(open, &maker);
    let first = maker.allocated();
    let second = edited(&first, |after| after.replicas[0].charged = 5);
    apply(&*repo, set([created(&first), changed(&first, &second)]));
    assert_eq!(current(&*repo, &first), second);
    assert_eq!(history(&*repo, &first).len(), 2);
    let third = edited(&second, |after| after.size = 1);
    conflicts(&*repo, set([changed(&second, &third), changed(&second, &third)]));
    assert_eq!(current(&*repo, &first), second);
}

/// A handle must say for whom it writes.
pub fn nothing_is_written_before_a_claim(open: Open<'_>) {
    let mut maker = Maker::new(17);
    let repo = open();
    let payload = maker.allocated();
    assert_eq!(refused(&*repo, set([created(&payload)])), Reason::Internal);
    assert_eq!(repo.get(payload.id).unwrap(), None);
}

/// A promise that would not be kept is not made.
pub fn a_class_that_cannot_be_promised_is_refused(open: Open<'_>) {
    let mut maker = Maker::new(18);
    let repo = claimed(open, &maker);
    for durability in Durability::ALL {
        let payload = maker.allocated();
        let set = ChangeSet {
            durability,
            ..set([created(&payload)])
        };
        if durability.min(Durability::Host) <= repo.strongest() {
            apply(&*repo, set);
        } else {
            assert_eq!(refused(&*repo, set), Reason::PolicyContradiction);
            assert_eq!(repo.get(payload.id).unwrap(), None);
        }
    }
}

/// Two servers on one node: whoever claims last writes, the other reads at most.
pub fn fault_57_an_earlier_claimant_is_fenced_at_every_write(open: Open<'_>) {
    let mut maker = Maker::new(19);
    let (old, new) = (claimed(open, &maker), open());
    let before = maker.allocated();
    apply(&*old, set([created(&before)]));
    let epoch = new.claim(maker.node, at(1)).unwrap();
    assert_eq!(epoch, 2);
    let payload = maker.allocated();
    let request = maker.request(&before);
    for changes in [
        vec![created(&payload)],
        vec![changed(&before, &edited(&before, |_| ()))],
        vec![],
    ] {
        let set = ChangeSet {
            request: Some(request.clone()),
            ..set(changes)
        };
        assert_eq!(refused(&*old, set), Reason::Fenced);
    }
    assert_eq!(old.forget_requests(at(100), 1).unwrap_err().reason(), Reason::Fenced);
    assert_eq!(old.check().unwrap_err().reason(), Reason::Fenced);
    assert_eq!(old.get(before.id).unwrap(), Some(before.clone()));
    assert_eq!(old.get(payload.id).unwrap(), None);
    apply(&*new, set([created(&payload)]));
    assert_eq!(old.claim(maker.node, at(2)).unwrap(), 3);
    assert_eq!(refused(&*new, set([])), Reason::Fenced);
}

/// Epochs are counted for each node by itself.
pub fn claims_of_other_nodes_do_not_fence(open: Open<'_>) {
    let (mut maker, mut neighbour) = (Maker::new(20), Maker::new(21));
    let (repo, other) = (claimed(open, &maker), claimed(open, &neighbour));
    apply(&*repo, set([created(&maker.allocated())]));
    apply(&*other, set([created(&neighbour.allocated())]));
}
