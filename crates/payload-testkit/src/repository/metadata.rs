//! Metadata: what comes back, in which order, and that it comes and goes with the change that made it.

use std::sync::Arc;

use payload_core::port::Repository;
use payload_core::{
    Change, CommitOutcome, Document, MetadataRevision, Payload, Reason, Revision, RevisionInfo, limits,
};

use super::Open;
use super::rows::{apply, claimed};
use super::sample::{Maker, changed, created, edited, set};

/// Lets a change bring a new revision.
pub fn describe(change: &mut Change, document: Document) {
    let before = change.before.as_ref().and_then(|before| before.metadata);
    Arc::make_mut(&mut change.after).metadata = Some(Revision::after(before));
    change.metadata = Some(document);
}

/// The next version of a payload, with a new revision.
fn described(before: &Payload, document: Document) -> Change {
    let mut change = changed(before, &edited(before, |_| ()));
    describe(&mut change, document);
    change
}

/// What a change makes readable.
fn revision(change: &Change) -> MetadataRevision {
    let document = change.metadata.as_ref().unwrap();
    MetadataRevision {
        about: RevisionInfo {
            revision: change.after.metadata.unwrap(),
            version: change.after.version,
            content_type: document.content_type.clone(),
            size: document.body.len() as u64,
            actor: change.event.actor.clone(),
            reason: change.event.reason.clone(),
            at: change.event.at,
        },
        body: document.body.clone(),
    }
}

/// Writes so many revisions, the first together with the payload.
fn write(repo: &dyn Repository, maker: &mut Maker, count: usize) -> (Payload, Vec<MetadataRevision>) {
    let mut first = created(&maker.allocated());
    describe(&mut first, maker.document(1));
    let mut revisions = vec![revision(&first)];
    let mut last = Payload::clone(&first.after);
    apply(repo, set([first]));
    for size in 1..count {
        let change = described(&last, maker.document(size));
        revisions.push(revision(&change));
        last = Payload::clone(&change.after);
        apply(repo, set([change]));
    }
    (last, revisions)
}

/// Whatever the bytes: none, NUL, no UTF-8, the largest document.
pub fn every_revision_comes_back_byte_for_byte(open: Open<'_>) {
    let mut maker = Maker::new(81);
    let repo = claimed(open, &maker);
    let mut last = maker.allocated();
    apply(&*repo, set([created(&last)]));
    assert_eq!(repo.metadata(last.id, None).unwrap(), None);
    let text = "ü ✓ \"quoted\" 'twice' \\ \0 \u{10ffff}";
    let bodies = [
        Vec::new(),
        vec![0],
        text.as_bytes().to_vec(),
        (0..=u8::MAX).rev().collect(),
        vec![0; limits::DOCUMENT_SIZE_MAX],
        maker.document(limits::DOCUMENT_SIZE_MAX).body.to_vec(),
    ];
    let mut revisions = Vec::new();
    for body in bodies {
        let document = Document::new("a/b; c=\"'\"".parse().unwrap(), body.into()).unwrap();
        let mut change = described(&last, document);
        change.event.reason = Some("because".into());
        revisions.push(revision(&change));
        last = Payload::clone(&change.after);
        apply(&*repo, set([change]));
        assert_eq!(repo.get(last.id).unwrap(), Some(last.clone()));
        assert_eq!(repo.metadata(last.id, None).unwrap().as_ref(), revisions.last());
    }
    let next = edited(&last, |after| after.size = 5);
    apply(&*repo, set([changed(&last, &next)]));
    for revision in &revisions {
        let found = repo.metadata(last.id, Some(revision.about.revision)).unwrap();
        assert_eq!(found.as_ref(), Some(revision));
    }
    let beyond = Revision::after(last.metadata);
    assert_eq!(repo.metadata(last.id, Some(beyond)).unwrap(), None);
    assert_eq!(repo.metadata(maker.payload_id(), Some(Revision::FIRST)).unwrap(), None);
}

/// Pages of every size hold every revision once, in order.
pub fn the_history_is_read_in_pages(open: Open<'_>) {
    let mut maker = Maker::new(82);
    let repo = claimed(open, &maker);
    let (payload, revisions) = write(&*repo, &mut maker, 25);
    let (_, others) = write(&*repo, &mut maker, 3);
    assert_eq!(others.len(), 3);
    let wanted: Vec<RevisionInfo> = revisions.into_iter().map(|revision| revision.about).collect();
    for limit in [1, 7, 25, 1_000] {
        let mut seen: Vec<RevisionInfo> = Vec::new();
        loop {
            let after = seen.last().map(|info| info.revision);
            let page = repo.metadata_history(payload.id, after, limit).unwrap();
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, wanted, "pages of {limit}");
    }
    assert_eq!(repo.metadata_history(maker.payload_id(), None, 10).unwrap(), []);
}

/// A revision without a document, a document without a revision, and a leap are faults of the server.
pub fn a_revision_follows_the_last(open: Open<'_>) {
    let mut maker = Maker::new(83);
    let repo = claimed(open, &maker);
    let (payload, _) = write(&*repo, &mut maker, 2);
    let good = described(&payload, maker.document(3));
    let mut silent = good.clone();
    silent.metadata = None;
    let mut nameless = good.clone();
    Arc::make_mut(&mut nameless.after).metadata = payload.metadata;
    let mut leaping = good.clone();
    Arc::make_mut(&mut leaping.after).metadata = Some(Revision::after(good.after.metadata));
    let mut forgotten = changed(&payload, &edited(&payload, |after| after.metadata = None));
    forgotten.metadata = None;
    for bad in [silent, nameless, leaping, forgotten] {
        assert_eq!(repo.commit(set([bad])).unwrap_err().reason(), Reason::Internal);
    }
    apply(&*repo, set([good]));
    assert_eq!(repo.metadata_history(payload.id, None, 10).unwrap().len(), 3);
}

/// What a conflict keeps out, it keeps out with its metadata.
pub fn a_refused_set_leaves_no_revision(open: Open<'_>) {
    let mut maker = Maker::new(84);
    let repo = claimed(open, &maker);
    let (payload, revisions) = write(&*repo, &mut maker, 2);
    let mut fresh = created(&maker.allocated());
    describe(&mut fresh, maker.document(9));
    let next = described(&payload, maker.document(8));
    let known = created(&maker.allocated());
    apply(&*repo, set([known.clone()]));
    let refused = repo.commit(set([fresh.clone(), next, known])).unwrap();
    assert_eq!(refused, CommitOutcome::Conflict);
    assert_eq!(repo.metadata(fresh.after.id, None).unwrap(), None);
    assert_eq!(repo.metadata(payload.id, None).unwrap().as_ref(), revisions.last());
    assert_eq!(repo.metadata_history(payload.id, None, 10).unwrap().len(), 2);
}

/// However many set it at once, a revision is followed by one.
pub fn one_of_many_new_revisions_wins(open: Open<'_>) {
    let mut maker = Maker::new(85);
    let repo = claimed(open, &maker);
    let (mut last, _) = write(&*repo, &mut maker, 1);
    for _ in 0..10 {
        let changes: Vec<Change> = (0..8).map(|size| described(&last, maker.document(size))).collect();
        let outcomes: Vec<CommitOutcome> = std::thread::scope(|scope| {
            let commit = |change: &Change| repo.commit(set([change.clone()])).unwrap();
            let threads: Vec<_> = changes
                .iter()
                .map(|change| scope.spawn(move || commit(change)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut winners = changes
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| **outcome == CommitOutcome::Applied);
        let (winner, _) = winners.next().unwrap();
        assert_eq!(winners.count(), 0);
        assert_eq!(repo.metadata(last.id, None).unwrap(), Some(revision(winner)));
        last = Payload::clone(&winner.after);
    }
}
