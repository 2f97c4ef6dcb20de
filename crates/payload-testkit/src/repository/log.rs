//! The log of a namespace: every event once, in one order for all readers, from any place on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use payload_core::port::Repository;
use payload_core::stream::StreamChange;
use payload_core::{
    ChangeSet, CommitOutcome, EventKind, EventRecord, LogFilter, LogPage, LogPosition, LogQuery, LoggedEvent,
    Namespace, Payload, PayloadId, Reason, State, Version, delta, limits,
};

use super::Open;
use super::rows::{apply, claimed};
use super::sample::{Maker, changed, created, edited, in_order, name, set};
use super::stream_sample::{Bed, active, append};

/// Every event of a namespace.
pub(super) fn everything(namespace: &Namespace) -> LogFilter {
    LogFilter {
        namespace: namespace.clone(),
        payload: None,
        kinds: Vec::new(),
    }
}

/// All that fits the filter, read in pages of `limit`.
pub fn read(repo: &dyn Repository, filter: &LogFilter, limit: u32) -> Vec<LoggedEvent> {
    let (events, _) = read_from(repo, filter, None, limit);
    events
}

/// The same from a place on, with the place up to which it was read.
pub(super) fn read_from(
    repo: &dyn Repository,
    filter: &LogFilter,
    mut after: Option<LogPosition>,
    limit: u32,
) -> (Vec<LoggedEvent>, LogPosition) {
    let mut events = Vec::new();
    loop {
        let page = page(repo, filter, after, limit);
        assert!(page.events.len() <= limit as usize);
        events.extend(page.events);
        if !page.more {
            return (events, page.through);
        }
        assert!(after.is_none_or(|after| after < page.through), "a page leads on");
        after = Some(page.through);
    }
}

fn page(repo: &dyn Repository, filter: &LogFilter, after: Option<LogPosition>, limit: u32) -> LogPage {
    let query = LogQuery {
        filter: filter.clone(),
        after,
        limit,
    };
    repo.log(&query).unwrap()
}

/// The history of one payload, as it went in.
pub fn history(repo: &dyn Repository, payload: &Payload) -> Vec<(Version, EventRecord)> {
    let filter = LogFilter::payload(payload.namespace.clone(), payload.id);
    let events = read(repo, &filter, 1_000).into_iter();
    events.map(|event| (event.version, event.record)).collect()
}

fn steps(events: &[LoggedEvent]) -> Vec<(PayloadId, Version)> {
    events.iter().map(|event| (event.payload, event.version)).collect()
}

/// Pages of every size hold the events of one namespace once, in an order that agrees with the versions.
pub fn pages_of_the_log_hold_every_event_once(open: Open<'_>) {
    let mut maker = Maker::new(71);
    let repo = claimed(open, &maker);
    let tenants = ["a", "a-b", "b"].map(name);
    let mut expected = vec![Vec::new(); tenants.len()];
    for round in 0..12 {
        let tenant = round % tenants.len();
        let first = Payload {
            namespace: tenants[tenant].clone(),
            ..maker.allocated()
        };
        let second = edited(&first, |after| after.size = 2);
        let third = edited(&second, |after| after.size = 3);
        apply(&*repo, set([created(&first), changed(&first, &second)]));
        apply(&*repo, set([changed(&second, &third)]));
        expected[tenant].extend([&first, &second, &third].map(|row| (row.id, row.version)));
    }
    for (namespace, expected) in tenants.iter().zip(expected) {
        for limit in [1, 2, 5, 12, 1_000] {
            let events = read(&*repo, &everything(namespace), limit);
            assert_eq!(steps(&events), expected, "pages of {limit}");
            assert!(events.is_sorted_by(|a, b| a.position < b.position));
        }
        let nothing = page(&*repo, &everything(namespace), None, 0);
        assert!(nothing.events.is_empty() && nothing.more);
    }
    assert_eq!(read(&*repo, &everything(&name("nobody")), 10), []);
}

/// A filter shows one payload, or some kinds, or both; and a page that finds nothing still leads to the end.
pub fn a_filter_of_the_log_shows_what_fits(open: Open<'_>) {
    let mut maker = Maker::new(72);
    let repo = claimed(open, &maker);
    let (one, two) = (maker.allocated(), maker.allocated());
    let elsewhere = Payload {
        namespace: name("b"),
        ..maker.allocated()
    };
    apply(&*repo, set([created(&one), created(&two), created(&elsewhere)]));
    let next = edited(&one, |after| after.size = 2);
    apply(&*repo, set([changed(&one, &next)]));

    let all = everything(&one.namespace);
    let kinds = |kinds: &[EventKind], payload| LogFilter {
        kinds: kinds.to_vec(),
        payload,
        ..all.clone()
    };
    let steps = |filter: &LogFilter| steps(&read(&*repo, filter, 1));
    let [first, other, second] = [&one, &two, &next].map(|row| (row.id, row.version));
    assert_eq!(steps(&kinds(&[], Some(one.id))), [first, second]);
    assert_eq!(steps(&kinds(&[EventKind::Committed], None)), [second]);
    assert_eq!(steps(&kinds(&[EventKind::Allocated], None)), [first, other]);
    assert_eq!(steps(&kinds(&[EventKind::Allocated], Some(two.id))), [other]);
    assert_eq!(
        steps(&kinds(&[EventKind::Committed, EventKind::Allocated], None)).len(),
        3
    );
    for nothing in [kinds(&[EventKind::Lost], None), kinds(&[], Some(elsewhere.id))] {
        let page = page(&*repo, &nothing, None, 10);
        assert_eq!((page.events, page.more), (Vec::new(), false));
        assert_eq!(page.through, repo.log_end(&one.namespace).unwrap());
    }
}

/// What a page looks at is bounded, also when nothing fits.
pub fn a_page_looks_at_a_bounded_part_of_the_log(open: Open<'_>) {
    let mut maker = Maker::new(73);
    let repo = claimed(open, &maker);
    let mut last = maker.allocated();
    apply(&*repo, set([created(&last)]));
    let count = limits::LOG_SCAN_MAX as usize + 10;
    for _ in 0..count / 500 + 1 {
        let mut changes = Vec::new();
        for _ in 0..500 {
            let next = edited(&last, |_| ());
            changes.push(changed(&last, &next));
            last = next;
        }
        apply(&*repo, set(changes));
    }
    let rare = LogFilter {
        kinds: vec![EventKind::Lost],
        ..everything(&last.namespace)
    };
    let first = page(&*repo, &rare, None, 10);
    assert_eq!((first.events.len(), first.more), (0, true));
    let second = page(&*repo, &rare, Some(first.through), 10);
    assert_eq!((second.events.len(), second.more), (0, false));
}

/// I6: the events of a payload add up to its row, whatever was done to it.
pub fn the_fold_of_the_events_is_the_row(open: Open<'_>) {
    let mut maker = Maker::new(74);
    let repo = claimed(open, &maker);
    let first = maker.full();
    let model = maker.allocated();
    let second = edited(&first, |after| {
        after.state = State::Deleting;
        after.digest = None;
        after.tier = model.tier;
        after.durability = model.durability;
        after.ttl = None;
        after.committed_at = None;
        after.labels.remove(0);
        after.replicas.remove(1);
        after.replicas[0].charged = 7;
        after.replicas.extend(model.replicas.clone());
    });
    let third = edited(&second, |_| ());
    apply(&*repo, set([created(&first)]));
    apply(&*repo, set([changed(&first, &second), changed(&second, &third)]));
    let events = read(&*repo, &LogFilter::payload(first.namespace.clone(), first.id), 2);
    let folded = delta::fold(first.id, events.iter().map(|event| (event.version, &event.delta)));
    assert_eq!(folded.unwrap(), repo.get(first.id).unwrap());
    assert_eq!(repo.get(first.id).unwrap(), Some(in_order(&third)));
}

/// A refused set leaves no event, and the log goes on behind it.
pub fn a_refused_set_is_not_in_the_log(open: Open<'_>) {
    let mut maker = Maker::new(75);
    let repo = claimed(open, &maker);
    let (one, two, three) = (maker.allocated(), maker.allocated(), maker.allocated());
    apply(&*repo, set([created(&one)]));
    let end = repo.log_end(&one.namespace).unwrap();
    let refused = repo.commit(set([created(&two), created(&one)])).unwrap();
    assert_eq!(refused, CommitOutcome::Conflict);
    let later = page(&*repo, &everything(&one.namespace), Some(end), 10);
    assert_eq!((later.events, later.more), (Vec::new(), false));
    let request = maker.request(&three);
    let asked = |payload: &Payload| ChangeSet {
        request: Some(request.clone()),
        ..set([created(payload)])
    };
    apply(&*repo, asked(&three));
    assert_eq!(
        repo.commit(asked(&two)).unwrap(),
        CommitOutcome::Duplicate(request.clone())
    );
    let events = read(&*repo, &everything(&one.namespace), 10);
    assert_eq!(steps(&events), [(one.id, one.version), (three.id, three.version)]);
}

/// Nobody goes on from a place that the log has not reached; the end is a place.
pub fn a_place_beyond_the_end_is_refused(open: Open<'_>) {
    let mut maker = Maker::new(76);
    let repo = claimed(open, &maker);
    let payload = maker.allocated();
    let query = |after| LogQuery {
        filter: everything(&payload.namespace),
        after: Some(after),
        limit: 10,
    };
    let far = LogPosition {
        transaction: u64::MAX,
        number: u64::MAX,
    };
    assert_eq!(repo.log(&query(far)).unwrap_err().reason(), Reason::BadPageToken);
    assert!(repo.log(&query(LogPosition::START)).unwrap().events.is_empty());
    apply(&*repo, set([created(&payload)]));
    assert_eq!(repo.log(&query(LogPosition::START)).unwrap().events.len(), 1);
    let end = repo.log_end(&payload.namespace).unwrap();
    assert!(repo.log(&query(end)).unwrap().events.is_empty());
    assert_eq!(repo.log(&query(far)).unwrap_err().reason(), Reason::BadPageToken);
}

/// Whoever listens hears of a commit once its events can be read, and of nothing that was refused.
pub fn new_events_are_announced(open: Open<'_>) {
    let mut maker = Maker::new(77);
    let repo = claimed(open, &maker);
    let (tell, heard) = std::sync::mpsc::channel();
    let tell = Mutex::new(tell);
    repo.on_events(Arc::new(move |namespace: &Namespace| {
        tell.lock().unwrap().send(namespace.clone()).unwrap();
    }));
    let (one, two) = (maker.allocated(), maker.full());
    apply(&*repo, set([created(&one), created(&two)]));
    let mut told = [heard.recv().unwrap(), heard.recv().unwrap()];
    told.sort();
    assert_eq!(told, [one.namespace.clone(), two.namespace.clone()]);
    for namespace in told {
        assert_eq!(read(&*repo, &everything(&namespace), 10).len(), 1);
    }
    repo.commit(set([created(&one)])).unwrap();
    let next = edited(&one, |_| ());
    apply(&*repo, set([changed(&one, &next)]));
    assert_eq!(heard.recv().unwrap(), one.namespace);
    assert!(heard.try_recv().is_err());
}

/// Also a commit whose set appends to a stream.
pub fn a_commit_that_appends_is_announced(open: Open<'_>) {
    let mut bed = Bed::new(open, 79);
    let (tell, heard) = std::sync::mpsc::channel();
    let tell = Mutex::new(tell);
    bed.repo.on_events(Arc::new(move |namespace: &Namespace| {
        tell.lock().unwrap().send(namespace.clone()).unwrap();
    }));
    let payload = active(bed.maker.allocated());
    let both = ChangeSet {
        streams: vec![StreamChange::Append(append(&[payload.id]))],
        ..set([created(&payload)])
    };
    assert!(matches!(bed.repo.commit(both).unwrap(), CommitOutcome::Appended(_)));
    assert_eq!(heard.try_recv().unwrap(), payload.namespace);
}

/// A reader that goes on from where it was, while many write, misses no event and sees none twice.
pub fn a_reader_among_writers_skips_nothing(open: Open<'_>) {
    const WRITERS: u64 = 8;
    const PAYLOADS: usize = 40;
    let maker = Maker::new(78);
    let repo = claimed(open, &maker);
    let filter = everything(&Namespace::default());
    let done = AtomicBool::new(false);
    let write = |seed| {
        let mut maker = Maker::new(seed);
        for _ in 0..PAYLOADS {
            let first = maker.allocated();
            let second = edited(&first, |after| after.size = 1);
            apply(&*repo, set([created(&first)]));
            apply(&*repo, set([changed(&first, &second)]));
        }
    };
    let events = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|seed| scope.spawn(move || write(3_000 + seed)))
            .collect();
        let follow = scope.spawn(|| {
            let (mut events, mut after) = (Vec::new(), None);
            loop {
                // Looked at before reading: what was written by then is read in this round.
                let last = done.load(Ordering::Acquire);
                let (more, through) = read_from(&*repo, &filter, after, 7);
                events.extend(more);
                after = Some(through);
                if last {
                    return events;
                }
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Release);
        follow.join().unwrap()
    });
    assert_eq!(events.len(), WRITERS as usize * PAYLOADS * 2);
    assert_eq!(events, read(&*repo, &filter, 1_000));
}
