//! The lineage graph: which edges there may be, how they are read, and what guards a payload that others descend from.

use std::collections::BTreeSet;

use payload_core::lineage::{LineagePage, LineageQuery, Scope};
use payload_core::port::Repository;
use payload_core::{
    Actor, ChangeSet, CommitOutcome, Edge, Payload, PayloadId, Reason, Refusal, State, StateKind, limits,
};

use super::Open;
use super::log::history;
use super::rows::{apply, claimed};
use super::sample::{Maker, at, changed, created, edited, name, set};

/// A payload that was committed.
pub fn active(maker: &mut Maker) -> Payload {
    Payload {
        state: State::Active { expires_at: None },
        replicas: Vec::new(),
        ..maker.allocated()
    }
}

/// So many of them, in order of their ids, which are put into the repository.
pub fn actives(repo: &dyn Repository, maker: &mut Maker, count: usize) -> Vec<Payload> {
    let mut rows: Vec<_> = (0..count).map(|_| active(maker)).collect();
    rows.sort_by_key(|row| row.id);
    for rows in rows.chunks(1_000) {
        apply(repo, set(rows.iter().map(created).collect::<Vec<_>>()));
    }
    rows
}

/// An edge, plain in every respect.
pub fn edge(child: &Payload, parent: &Payload) -> Edge {
    Edge {
        child: child.id,
        parent: parent.id,
        operation: "derive".parse().expect("is a word"),
        role: "input".parse().expect("is a word"),
        parameters: b"{}"[..].into(),
        actor: Actor::from(&child.owner),
        at: at(7),
    }
}

/// A set that adds edges and nothing else.
pub fn edges(edges: impl Into<Vec<Edge>>) -> ChangeSet {
    ChangeSet {
        edges: edges.into(),
        ..set([])
    }
}

fn refused(repo: &dyn Repository, set: ChangeSet) -> Refusal {
    match repo.commit(set).unwrap() {
        CommitOutcome::Refused(refusal) => refusal,
        other => panic!("was not refused but {other:?}"),
    }
}

fn query(root: &Payload, scope: Scope) -> LineageQuery {
    LineageQuery {
        root: root.id,
        scope,
        depth: limits::LINEAGE_DEPTH_MAX,
        limit: limits::LINEAGE_PAGE_SIZE_MAX,
        after: None,
    }
}

/// The pairs of (child, parent) that a query shows, on one page.
fn pairs(repo: &dyn Repository, query: &LineageQuery) -> Vec<(PayloadId, PayloadId)> {
    let page = repo.lineage(query).unwrap();
    assert_eq!(page.next, None);
    page.edges.iter().map(|edge| (edge.child, edge.parent)).collect()
}

fn ids(page: &LineagePage) -> BTreeSet<PayloadId> {
    page.nodes.iter().map(|node| node.id).collect()
}

/// Every byte of it, from either end.
pub fn an_edge_comes_back_with_every_field(open: Open<'_>) {
    let mut maker = Maker::new(60);
    let repo = claimed(open, &maker);
    let (child, parent) = (active(&mut maker), active(&mut maker));
    let full = Edge {
        operation: "acme/denoise@2 ü ✓ 'quoted' \"twice\" %_\\".parse().unwrap(),
        role: "".parse().unwrap(),
        parameters: (0..=255).cycle().take(limits::LINEAGE_PARAMETERS_LEN_MAX).collect(),
        ..edge(&child, &parent)
    };
    let set = ChangeSet {
        edges: vec![full.clone()],
        ..set([created(&parent), created(&child)])
    };
    apply(&*repo, set);
    for (root, scope) in [(&child, Scope::Up), (&parent, Scope::Down), (&child, Scope::Both)] {
        let page = open().lineage(&query(root, scope)).unwrap();
        assert_eq!(page.edges, std::slice::from_ref(&full));
        assert_eq!((page.next, page.deeper), (None, false));
        assert_eq!(ids(&page), BTreeSet::from([child.id, parent.id]));
        assert_eq!(page.nodes[0].id, root.id);
        assert!(page.nodes.iter().all(|node| node.state == Some(StateKind::Active)));
        assert!(page.nodes.iter().all(|node| node.size == child.size));
    }
    assert_eq!(pairs(&*repo, &query(&child, Scope::Down)), []);
}

/// Child, parent, operation and role make an edge; the first one stays.
pub fn an_edge_is_added_once(open: Open<'_>) {
    let mut maker = Maker::new(61);
    let repo = claimed(open, &maker);
    let rows = actives(&*repo, &mut maker, 2);
    let first = edge(&rows[1], &rows[0]);
    let again = Edge {
        parameters: b"other"[..].into(),
        at: at(99),
        ..first.clone()
    };
    let other = Edge {
        role: "mask".parse().unwrap(),
        ..first.clone()
    };
    apply(&*repo, edges([first.clone(), again.clone()]));
    apply(&*repo, edges([again, other.clone()]));
    let page = repo.lineage(&query(&rows[1], Scope::Up)).unwrap();
    assert_eq!(page.edges, [first, other]);
    assert_eq!(page.nodes.len(), 2);
}

/// Both ends are there, of one namespace, and were committed once; tombstones will do.
pub fn the_ends_of_an_edge_must_have_been_committed(open: Open<'_>) {
    let mut maker = Maker::new(62);
    let repo = claimed(open, &maker);
    let child = active(&mut maker);
    let elsewhere = Payload {
        namespace: name("tenant-7"),
        ..active(&mut maker)
    };
    apply(&*repo, set([created(&child), created(&elsewhere)]));
    let nobody = active(&mut maker);
    for stranger in [&elsewhere, &nobody] {
        let unknown = Refusal::Unknown(stranger.id);
        assert_eq!(refused(&*repo, edges([edge(&child, stranger)])), unknown);
    }
    assert_eq!(
        refused(&*repo, edges([edge(&nobody, &child)])),
        Refusal::Unknown(nobody.id)
    );
    for (state, good) in [
        (State::Allocated { until: at(9) }, false),
        (State::Aborted, false),
        (
            State::Active {
                expires_at: Some(at(1)),
            },
            true,
        ),
        (State::Deleting, true),
        (State::Deleted, true),
        (State::Lost, true),
    ] {
        let end = Payload {
            state,
            ..active(&mut maker)
        };
        apply(&*repo, set([created(&end)]));
        let (above, below) = (edges([edge(&child, &end)]), edges([edge(&end, &child)]));
        if good {
            apply(&*repo, above);
        } else {
            let refusal = Refusal::NotCommitted(end.id, state.kind());
            assert_eq!(refused(&*repo, above), refusal);
            assert_eq!(refused(&*repo, below), refusal);
        }
    }
    assert_eq!(pairs(&*repo, &query(&child, Scope::Up)).len(), 4);
}

/// A refused edge takes everything else of its set along.
pub fn a_refused_edge_leaves_no_trace(open: Open<'_>) {
    let mut maker = Maker::new(63);
    let repo = claimed(open, &maker);
    let rows = actives(&*repo, &mut maker, 3);
    let fresh = active(&mut maker);
    let newer = edited(&rows[0], |after| after.size = 1);
    let request = maker.request(&fresh);
    let whole = |last: Edge| ChangeSet {
        edges: vec![edge(&fresh, &rows[0]), edge(&rows[2], &rows[1]), last],
        request: Some(request.clone()),
        ..set([created(&fresh), changed(&rows[0], &newer)])
    };
    let bad = edge(&rows[1], &rows[2]);
    let refusal = refused(&*repo, whole(bad.clone()));
    assert_eq!(
        refusal,
        Refusal::Cycle {
            child: bad.child,
            parent: bad.parent
        }
    );
    assert_eq!(repo.get(fresh.id).unwrap(), None);
    assert_eq!(repo.get(rows[0].id).unwrap(), Some(rows[0].clone()));
    assert_eq!(history(&*repo, &rows[0]).len(), 1);
    assert_eq!(
        repo.find_request(&request.principal, &request.request_id).unwrap(),
        None
    );
    assert_eq!(pairs(&*repo, &query(&rows[2], Scope::Both)), []);
    apply(&*repo, whole(edge(&rows[2], &rows[0])));
    assert_eq!(pairs(&*repo, &query(&rows[0], Scope::Down)).len(), 2);
}

/// Nothing is its own ancestor, by however many steps, within one set or over many.
pub fn fault_50_a_circle_is_never_closed(open: Open<'_>) {
    let mut maker = Maker::new(64);
    let repo = claimed(open, &maker);
    let rows = actives(&*repo, &mut maker, 8);
    let own = edge(&rows[0], &rows[0]);
    let cycle = |edge: &Edge| Refusal::Cycle {
        child: edge.child,
        parent: edge.parent,
    };
    assert_eq!(refused(&*repo, edges([own.clone()])), cycle(&own));
    // 7 → 6 → … → 0, and a second way from 5 to 2.
    let chain: Vec<_> = rows.windows(2).map(|pair| edge(&pair[1], &pair[0])).collect();
    apply(&*repo, edges(chain));
    apply(&*repo, edges([edge(&rows[5], &rows[2])]));
    for old in 0..rows.len() {
        for new in old + 1..rows.len() {
            let back = edge(&rows[old], &rows[new]);
            assert_eq!(refused(&*repo, edges([back.clone()])), cycle(&back), "{old} from {new}");
        }
    }
    let (one, two) = (active(&mut maker), active(&mut maker));
    let both = ChangeSet {
        edges: vec![edge(&one, &two), edge(&two, &one)],
        ..set([created(&one), created(&two)])
    };
    assert_eq!(refused(&*repo, both), cycle(&edge(&two, &one)));
    // A shortcut is no circle.
    apply(&*repo, edges([edge(&rows[7], &rows[0])]));
}

/// However deep its ancestry, a new payload is added with a look; between the middles of two deep halves nobody can say.
pub fn fault_50_a_chain_grows_at_its_ends_however_deep(open: Open<'_>) {
    const DEPTH: usize = limits::LINEAGE_CHECK_MAX + 100;
    let mut maker = Maker::new(65);
    let repo = claimed(open, &maker);
    let rows = actives(&*repo, &mut maker, DEPTH);
    let chain: Vec<_> = rows.windows(2).map(|pair| edge(&pair[1], &pair[0])).collect();
    apply(&*repo, edges(chain));
    let (top, bottom) = (&rows[0], &rows[DEPTH - 1]);
    let (child, parent) = (active(&mut maker), active(&mut maker));
    let ends = ChangeSet {
        edges: vec![edge(&child, bottom), edge(top, &parent), edge(&child, &parent)],
        ..set([created(&child), created(&parent)])
    };
    apply(&*repo, ends);
    let across = edge(&rows[DEPTH / 2 + 10], &rows[DEPTH / 2 - 10]);
    let refusal = Refusal::TooLarge {
        child: across.child,
        parent: across.parent,
    };
    assert_eq!(refused(&*repo, edges([across])), refusal);

    let page = repo.lineage(&query(&child, Scope::Up)).unwrap();
    assert_eq!((page.edges.len(), page.next, page.deeper), (1_001, None, true));
    let all = repo.descendants(parent.id, limits::LINEAGE_WALK_MAX as u32).unwrap();
    assert_eq!((all.nodes.len(), all.complete), (DEPTH + 1, true));
    let some = repo.descendants(parent.id, 100).unwrap();
    assert_eq!((some.nodes.len(), some.links.len(), some.complete), (100, 100, false));
}

/// A hundred thousand children come page by page, and no page hides that there are more.
pub fn fault_50_a_wide_fan_is_read_in_pages(open: Open<'_>) {
    const WIDTH: usize = 100_000;
    let mut maker = Maker::new(66);
    let repo = claimed(open, &maker);
    let rows = actives(&*repo, &mut maker, WIDTH + 1);
    let (parent, children) = rows.split_last().unwrap();
    let fan: Vec<_> = children.iter().map(|child| edge(child, parent)).collect();
    apply(&*repo, edges(fan));
    let found = read_all(&*repo, query(parent, Scope::Down));
    assert!(
        found
            .iter()
            .map(|edge| edge.child)
            .eq(children.iter().map(|child| child.id))
    );
    // Looking from a child is not looking at its siblings.
    assert_eq!(pairs(&*repo, &query(&children[0], Scope::Both)).len(), 1);
    let more = edge(parent, &children[0]);
    let refusal = Refusal::Cycle {
        child: more.child,
        parent: more.parent,
    };
    assert_eq!(refused(&*repo, edges([more])), refusal);
}

/// Reads page after page.
pub fn read_all(repo: &dyn Repository, mut query: LineageQuery) -> Vec<Edge> {
    let mut found = Vec::new();
    loop {
        let page = repo.lineage(&query).unwrap();
        assert!(page.edges.len() <= query.limit as usize);
        found.extend(page.edges);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
}

/// Nearest first, each edge once, whatever the size of the pages; depth counts steps.
pub fn a_graph_is_read_nearest_first(open: Open<'_>) {
    let mut maker = Maker::new(67);
    let repo = claimed(open, &maker);
    let rows = actives(&*repo, &mut maker, 7);
    let pair = |child: usize, parent: usize| edge(&rows[child], &rows[parent]);
    // A diamond over 3, with a tail above and one below: 6 → 5 → {3, 4} → 2 → {0, 1}, and 5 → 2.
    let graph = [(2, 0), (2, 1), (3, 2), (4, 2), (5, 3), (5, 4), (5, 2), (6, 5)];
    apply(&*repo, edges(graph.map(|(child, parent)| pair(child, parent))));
    let shown = |root: usize, scope: Scope, depth: u32| {
        let query = LineageQuery {
            depth,
            ..query(&rows[root], scope)
        };
        let place = |id| rows.iter().position(|row| row.id == id).unwrap();
        let whole = repo.lineage(&query).unwrap();
        for limit in 1..=8 {
            let paged = read_all(&*repo, LineageQuery { limit, ..query.clone() });
            assert_eq!(paged, whole.edges);
        }
        let found: Vec<_> = whole
            .edges
            .iter()
            .map(|edge| (place(edge.child), place(edge.parent)))
            .collect();
        (found, whole.deeper)
    };
    assert_eq!(shown(5, Scope::Up, 1), (vec![(5, 2), (5, 3), (5, 4)], true));
    let up = vec![(5, 2), (5, 3), (5, 4), (2, 0), (2, 1), (3, 2), (4, 2)];
    assert_eq!(shown(5, Scope::Up, 2), (up.clone(), false));
    assert_eq!(shown(5, Scope::Up, 9), (up.clone(), false));
    assert_eq!(shown(2, Scope::Down, 1), (vec![(3, 2), (4, 2), (5, 2)], true));
    let both: Vec<_> = up.into_iter().chain([(6, 5)]).collect();
    assert_eq!(shown(5, Scope::Both, 9), (both, false));
    assert_eq!(shown(0, Scope::Up, 9), (vec![], false));
}

/// What was added where a reader has been already is not passed over in silence.
pub fn a_reader_hears_of_edges_behind_it(open: Open<'_>) {
    let mut maker = Maker::new(68);
    let repo = claimed(open, &maker);
    let rows = actives(&*repo, &mut maker, 6);
    let fan: Vec<_> = [1, 2, 4].map(|parent| edge(&rows[5], &rows[parent])).into();
    apply(&*repo, edges(fan));
    let first = LineageQuery {
        limit: 2,
        ..query(&rows[5], Scope::Up)
    };
    let after = repo.lineage(&first).unwrap().next;
    assert!(after.is_some());
    let second = LineageQuery { after, ..first.clone() };
    apply(&*repo, edges([edge(&rows[5], &rows[3])]));
    assert_eq!(repo.lineage(&second).unwrap().edges.len(), 2);
    apply(&*repo, edges([edge(&rows[5], &rows[0])]));
    assert_eq!(repo.lineage(&second).unwrap_err().reason(), Reason::Conflict);
    assert_eq!(read_all(&*repo, first).len(), 5);
}

/// A payload that must have no live descendant is looked at in the transaction, through tombstones.
pub fn live_descendants_guard_a_payload(open: Open<'_>) {
    let mut maker = Maker::new(69);
    let repo = claimed(open, &maker);
    let rows = actives(&*repo, &mut maker, 3);
    apply(&*repo, edges([edge(&rows[1], &rows[0]), edge(&rows[2], &rows[1])]));
    let gone = |row: &Payload| edited(row, |after| after.state = State::Deleted);
    let end = |row: &Payload| ChangeSet {
        without_dependents: Some(row.id),
        ..set([changed(row, &gone(row))])
    };
    let dependent = |dependent: &Payload| Refusal::Dependents {
        payload: rows[0].id,
        dependent: dependent.id,
    };
    assert_eq!(refused(&*repo, end(&rows[0])), dependent(&rows[1]));
    apply(&*repo, set([changed(&rows[1], &gone(&rows[1]))]));
    assert_eq!(refused(&*repo, end(&rows[0])), dependent(&rows[2]));
    assert_eq!(repo.get(rows[0].id).unwrap(), Some(rows[0].clone()));
    apply(&*repo, end(&rows[2]));
    apply(&*repo, end(&rows[0]));
    let states: Vec<_> = repo
        .descendants(rows[0].id, 10)
        .unwrap()
        .nodes
        .iter()
        .map(|node| node.state)
        .collect();
    assert_eq!(states, [Some(StateKind::Deleted); 2]);
}
