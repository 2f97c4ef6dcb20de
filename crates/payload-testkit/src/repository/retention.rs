//! The history when its time is over: what goes, what stays, and that nobody skips what is gone without hearing of it.

use payload_core::log::LogQuery;
use payload_core::port::Repository;
use payload_core::retention::{self, History, Removed};
use payload_core::{
    Change, Label, LogPosition, NameChange, NameGuard, Namespace, Payload, PayloadId, Reason, Revision, State, Version,
};

use super::Open;
use super::lineage::{actives, edge, edges};
use super::log::{everything, read};
use super::metadata::describe;
use super::names::{label, moving, naming};
use super::rows::{apply, claimed};
use super::sample::{Maker, at, changed, created, edited, set};

/// More than there is.
const ALL: u32 = 1_000;

/// The change, as if it had happened at this moment.
fn when(mut change: Change, moment: i64) -> Change {
    change.event.at = at(moment);
    change
}

fn remove(repo: &dyn Repository, what: &History, before: i64, limit: u32) -> Removed {
    repo.remove_history(what, at(before), limit).unwrap()
}

/// The ids of the tombstones that go.
fn purge(repo: &dyn Repository, before: i64, limit: u32) -> Vec<PayloadId> {
    remove(repo, &History::Tombstones, before, limit).payloads
}

/// Ends a payload at this moment.
fn end(repo: &dyn Repository, payload: &Payload, moment: i64) -> Payload {
    let tombstone = edited(payload, |row| {
        row.state = State::Deleted;
        row.replicas.clear();
    });
    apply(repo, set([when(changed(payload, &tombstone), moment)]));
    tombstone
}

/// What was read before is refused, what is left is all there, and both together add up to the rows.
pub fn a_log_loses_its_oldest_events_and_remembers_their_sum(open: Open<'_>) {
    let mut maker = Maker::new(91);
    let repo = claimed(open, &maker);
    let (mut one, other) = (maker.allocated(), maker.allocated());
    apply(&*repo, set([when(created(&one), 1)]));
    for moment in 2..8 {
        let next = edited(&one, |row| {
            row.labels = vec![Label::new("k", &format!("v{moment}")).unwrap()];
        });
        apply(&*repo, set([when(changed(&one, &next), moment)]));
        one = next;
    }
    apply(&*repo, set([when(created(&other), 3)]));
    let (log, what) = (everything(&one.namespace), History::Events(one.namespace.clone()));
    let all = read(&*repo, &log, 100);
    assert_eq!(repo.event_base(one.id).unwrap(), None);

    assert_eq!(remove(&*repo, &what, 1, ALL), Removed::default());
    for (count, more) in [(3, true), (1, false)] {
        let removed = remove(&*repo, &what, 5, 3);
        assert_eq!((removed.count, removed.more), (count, more));
    }
    assert_eq!(read(&*repo, &log, 2), all[4..]);
    let after = |position: Option<LogPosition>| {
        let query = LogQuery {
            filter: log.clone(),
            after: position,
            limit: 10,
        };
        repo.log(&query).map(|page| page.events)
    };
    assert_eq!(
        after(Some(all[2].position)).unwrap_err().reason(),
        Reason::HistoryRemoved
    );
    assert_eq!(after(Some(all[3].position)).unwrap(), all[4..]);

    let base = repo.event_base(one.id).unwrap().unwrap();
    assert_eq!(base.version, Version::from_u64(4));
    let rest = all[4..].iter().filter(|event| event.payload == one.id);
    let rest = rest.map(|event| (event.version, &event.delta));
    assert_eq!(retention::base(Some(base), one.id, rest), Some(one.clone()));
    assert_eq!(repo.event_base(other.id).unwrap(), None);

    // The last is older than those before it, and goes with them.
    assert_eq!(remove(&*repo, &what, 8, ALL).count, 4);
    assert_eq!(repo.event_base(one.id).unwrap(), Some(one.clone()));
    assert_eq!(after(None).unwrap(), []);
    assert_eq!(repo.logs(None, 10).unwrap(), []);
    let next = edited(&one, |row| row.size = 9);
    apply(&*repo, set([when(changed(&one, &next), 200)]));
    let fresh = read(&*repo, &log, 10);
    assert_eq!((fresh.len(), fresh[0].version), (1, next.version));
    assert!(fresh[0].position > all[7].position);
    assert_eq!(repo.logs(None, 10).unwrap(), [one.namespace]);
}

/// In order, each once, and only those that hold events.
pub fn logs_are_listed_by_their_namespaces(open: Open<'_>) {
    let mut maker = Maker::new(92);
    let repo = claimed(open, &maker);
    assert_eq!(repo.logs(None, 10).unwrap(), []);
    let (one, two) = (maker.allocated(), maker.full());
    apply(&*repo, set([created(&one), created(&two)]));
    apply(&*repo, set([created(&maker.allocated())]));
    let mut namespaces = [one.namespace, two.namespace];
    namespaces.sort();
    assert_eq!(repo.logs(None, 10).unwrap(), namespaces);
    assert_eq!(repo.logs(None, 1).unwrap(), namespaces[..1]);
    assert_eq!(repo.logs(Some(&namespaces[0]), 10).unwrap(), namespaces[1..]);
    let none: [Namespace; 0] = [];
    assert_eq!(repo.logs(Some(&namespaces[1]), 10).unwrap(), none);
}

/// The latest revision has no age: nothing has taken its place.
pub fn revisions_go_when_later_ones_are_old(open: Open<'_>) {
    let mut maker = Maker::new(93);
    let repo = claimed(open, &maker);
    let mut last = maker.allocated();
    apply(&*repo, set([created(&last)]));
    for moment in 1..6 {
        let mut change = when(changed(&last, &edited(&last, |_| ())), moment);
        describe(&mut change, maker.document(3));
        last = Payload::clone(&change.after);
        apply(&*repo, set([change]));
    }
    let kept = || {
        let revisions = repo.metadata_history(last.id, None, 10).unwrap();
        revisions.iter().map(|info| info.revision.as_u64()).collect::<Vec<_>>()
    };
    // The first was superseded at 2.
    assert_eq!(remove(&*repo, &History::Metadata, 2, ALL), Removed::default());
    let removed = remove(&*repo, &History::Metadata, 4, 1);
    assert_eq!((removed.count, removed.more, kept()), (1, true, vec![2, 3, 4, 5]));
    let removed = remove(&*repo, &History::Metadata, 4, 2);
    assert_eq!((removed.count, removed.more, kept()), (1, false, vec![3, 4, 5]));
    assert_eq!(repo.metadata(last.id, Revision::from_u64(2)).unwrap(), None);
    assert_eq!(remove(&*repo, &History::Metadata, 100, ALL).count, 2);
    assert_eq!(kept(), [5]);
    assert!(repo.metadata(last.id, None).unwrap().is_some());
    assert_eq!(remove(&*repo, &History::Metadata, 100, ALL), Removed::default());
}

/// The move that a name points by stays; of a name that was taken away nothing does.
pub fn moves_of_names_go_when_later_ones_are_old(open: Open<'_>) {
    let mut maker = Maker::new(94);
    let repo = claimed(open, &maker);
    let rows = actives(&*repo, &mut maker, 2);
    let point = |name: &str, to: Option<&Payload>, moment: i64| {
        let change = NameChange {
            at: at(moment),
            ..naming(name, NameGuard::Any, to.map(|row| row.id))
        };
        apply(&*repo, moving(change));
    };
    for moment in 1..4 {
        point("kept", Some(&rows[moment as usize % 2]), moment);
        point("gone", Some(&rows[moment as usize % 2]), moment);
    }
    point("gone", None, 4);
    let kept = |name: &str| {
        let moves = repo
            .name_history(&Namespace::default(), &label(name), None, 10)
            .unwrap();
        moves.iter().map(|moved| moved.version.as_u64()).collect::<Vec<_>>()
    };
    assert_eq!((kept("kept"), kept("gone")), (vec![3, 2, 1], vec![4, 3, 2, 1]));
    let removed = remove(&*repo, &History::Names, 3, 3);
    assert_eq!((removed.count, removed.more), (2, false));
    assert_eq!((kept("kept"), kept("gone")), (vec![3, 2], vec![4, 3, 2]));
    assert!(remove(&*repo, &History::Names, 100, 2).more);
    assert_eq!(remove(&*repo, &History::Names, 100, ALL).count, 2);
    assert_eq!((kept("kept"), kept("gone")), (vec![3], vec![]));
    assert!(repo.name(&Namespace::default(), &label("kept")).unwrap().is_some());
    point("gone", Some(&rows[0]), 200);
    assert_eq!(kept("gone"), [1]);
    assert_eq!(remove(&*repo, &History::Names, 300, ALL), Removed::default());
}

/// Nothing of it is left but its events, which go in their own time.
pub fn a_tombstone_goes_with_all_that_hangs_on_it(open: Open<'_>) {
    let mut maker = Maker::new(95);
    let repo = claimed(open, &maker);
    let mut rows = actives(&*repo, &mut maker, 3);
    rows[0] = {
        let next = edited(&rows[0], |row| row.labels = vec![Label::new("k", "v").unwrap()]);
        let mut change = changed(&rows[0], &next);
        describe(&mut change, maker.document(3));
        let next = Payload::clone(&change.after);
        apply(&*repo, set([change]));
        next
    };
    apply(&*repo, moving(naming("n", NameGuard::Free, Some(rows[0].id))));
    let tombstone = end(&*repo, &rows[0], 10);
    end(&*repo, &rows[1], 11);
    let events = read(&*repo, &everything(&tombstone.namespace), 100);
    let what = History::Events(tombstone.namespace.clone());
    remove(&*repo, &what, 6, 2);
    assert!(repo.event_base(tombstone.id).unwrap().is_some() || repo.event_base(rows[1].id).unwrap().is_some());

    assert_eq!(remove(&*repo, &History::Tombstones, 10, ALL), Removed::default());
    let removed = remove(&*repo, &History::Tombstones, 12, 1);
    assert_eq!((removed.payloads, removed.more), (vec![tombstone.id], true));
    assert_eq!(repo.get(tombstone.id).unwrap(), None);
    assert_eq!(repo.metadata(tombstone.id, None).unwrap(), None);
    assert_eq!(repo.metadata_history(tombstone.id, None, 10).unwrap(), []);
    assert_eq!(repo.name(&Namespace::default(), &label("n")).unwrap(), None);
    assert_eq!(repo.event_base(tombstone.id).unwrap(), None);
    assert_eq!(read(&*repo, &everything(&tombstone.namespace), 100), events[2..]);
    assert_eq!(purge(&*repo, 12, ALL), [rows[1].id]);
    assert_eq!(purge(&*repo, 1_000, ALL), []);
    assert!(repo.get(rows[2].id).unwrap().is_some());
    // The move to the payload that is gone is history like any other.
    assert_eq!(remove(&*repo, &History::Names, 11, ALL).count, 1);
    // Late entries of what went with the payload find nothing to do.
    remove(&*repo, &History::Metadata, 1_000, ALL);
    remove(&*repo, &what, 1_000, ALL);
    assert_eq!(repo.event_base(tombstone.id).unwrap(), None);
}

/// What something was made from stays for as long as that is there: from the leaves up, whatever ended first.
pub fn a_tombstone_stays_while_something_descends_from_it(open: Open<'_>) {
    let mut maker = Maker::new(96);
    let repo = claimed(open, &maker);
    let rows = actives(&*repo, &mut maker, 5);
    let [source, middle, leaf, side, alone] = &rows[..] else {
        panic!("five of them")
    };
    apply(
        &*repo,
        edges([edge(middle, source), edge(leaf, middle), edge(side, source)]),
    );
    for (moment, row) in (10..).zip([source, middle, side, alone]) {
        end(&*repo, row, moment);
    }
    // The leaf lives, and with it all that it came from.
    let mut gone = vec![side.id, alone.id];
    gone.sort_unstable();
    assert_eq!(purge(&*repo, 20, ALL), gone);
    assert_eq!(purge(&*repo, 20, ALL), []);
    end(&*repo, leaf, 30);
    assert_eq!(purge(&*repo, 30, ALL), []);
    let removed = remove(&*repo, &History::Tombstones, 31, ALL);
    assert_eq!((removed.payloads, removed.more), (vec![leaf.id], true));
    assert_eq!(purge(&*repo, 31, ALL), [middle.id]);
    assert_eq!(purge(&*repo, 31, ALL), [source.id]);
    assert_eq!(remove(&*repo, &History::Tombstones, 1_000, ALL), Removed::default());
}

/// Of a set that was refused no time counts.
pub fn a_refused_end_leaves_no_tombstone(open: Open<'_>) {
    let mut maker = Maker::new(97);
    let repo = claimed(open, &maker);
    let rows = actives(&*repo, &mut maker, 2);
    let tombstone = edited(&rows[0], |row| row.state = State::Deleted);
    let conflict = set([when(changed(&rows[0], &tombstone), 5), created(&rows[1])]);
    repo.commit(conflict).unwrap();
    assert_eq!(purge(&*repo, 1_000, ALL), []);
    assert!(repo.get(rows[0].id).unwrap().is_some());
}
