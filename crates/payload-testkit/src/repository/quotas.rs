//! Quotas: what a namespace takes up is what its rows say, and nothing that may not bring it above its quota does.

use std::sync::Barrier;
use std::thread;

use payload_core::port::Repository;
use payload_core::quota::share;
use payload_core::{
    ChangeSet, CommitOutcome, Durability, NamespaceRecord, NamespaceUse, NodeId, OverQuota, Payload, Quota, Reason,
    State,
};

use super::Open;
use super::namespaces::namespace;
use super::rows::{apply, claimed};
use super::sample::{Maker, at, changed, created, edited, name, set};

fn bounded(text: &str, bytes: Option<u64>, payloads: Option<u64>) -> NamespaceRecord {
    NamespaceRecord {
        quota: Quota { bytes, payloads },
        ..namespace(text)
    }
}

/// The set must stay within quotas.
fn within(set: ChangeSet) -> ChangeSet {
    ChangeSet {
        over_quota: OverQuota::Refuse,
        ..set
    }
}

fn allocated(maker: &mut Maker, tenant: &NamespaceRecord) -> Payload {
    Payload {
        namespace: tenant.name.clone(),
        ..maker.allocated()
    }
}

fn ended(row: &Payload) -> Payload {
    edited(row, |row| {
        row.state = State::Deleted;
        row.replicas.clear();
    })
}

fn is_refused(repo: &dyn Repository, set: ChangeSet) -> bool {
    match repo.commit(set) {
        Ok(outcome) => {
            assert_eq!(outcome, CommitOutcome::Applied);
            false
        }
        Err(error) => {
            assert_eq!(error.reason(), Reason::QuotaExceeded, "{error}");
            true
        }
    }
}

/// Through a life: allocated with a promise, committed with both copies, ended; also for a handle that is opened later.
pub fn a_namespace_uses_what_its_rows_say(open: Open<'_>) {
    let mut maker = Maker::new(81);
    let repo = claimed(open, &maker);
    let tenant = namespace("tenant-81");
    repo.create_namespace(&tenant).unwrap();
    assert_eq!(repo.namespace_use(&tenant.name).unwrap(), NamespaceUse::default());
    let durable = Payload {
        durability: Durability::Host,
        ..allocated(&mut maker, &tenant)
    };
    let plain = allocated(&mut maker, &tenant);
    let mut rows = [durable, plain];
    apply(&*repo, set([created(&rows[0]), created(&rows[1])]));
    let check = |repo: &dyn Repository, rows: &[Payload]| {
        let (mut payloads, mut bytes) = (0, 0);
        for row in rows {
            payloads += share(row).payloads;
            bytes += share(row).bytes;
        }
        let used = repo.namespace_use(&tenant.name).unwrap();
        assert_eq!(used, NamespaceUse { payloads, bytes });
        used
    };
    assert_eq!(check(&*repo, &rows).bytes, 2 * 4_096 + 4_000);
    let full = maker.full();
    let active = edited(&rows[0], |row| {
        row.state = State::Active { expires_at: None };
        row.replicas.push(full.replicas[1].clone());
    });
    apply(&*repo, set([changed(&rows[0], &active)]));
    rows[0] = active;
    check(&*repo, &rows);
    let first = edited(&rows[0], |row| row.size = 1);
    apply(
        &*repo,
        set([changed(&rows[0], &first), changed(&first, &ended(&first))]),
    );
    rows[0] = ended(&first);
    check(&*repo, &rows);
    check(&*open(), &rows);
    assert_eq!(repo.namespace_use(&name("nobody")).unwrap(), NamespaceUse::default());
}

/// The whole set, and nothing stays of it; what was promised, what shrinks, and other namespaces are not touched by that.
pub fn growth_beyond_a_quota_is_refused(open: Open<'_>) {
    let mut maker = Maker::new(82);
    let repo = claimed(open, &maker);
    let tenant = bounded("tenant-82", Some(3 * 4_096), Some(3));
    let other = namespace("other-82");
    repo.create_namespace(&tenant).unwrap();
    repo.create_namespace(&other).unwrap();
    let (one, two) = (allocated(&mut maker, &tenant), allocated(&mut maker, &tenant));
    assert!(!is_refused(&*repo, within(set([created(&one), created(&two)]))));

    // A promise counts from the allocation on.
    let durable = Payload {
        durability: Durability::Host,
        ..allocated(&mut maker, &tenant)
    };
    let neighbour = allocated(&mut maker, &other);
    assert!(is_refused(
        &*repo,
        within(set([created(&neighbour), created(&durable)]))
    ));
    assert_eq!(
        (repo.get(durable.id).unwrap(), repo.get(neighbour.id).unwrap()),
        (None, None)
    );
    assert_eq!(repo.namespace_use(&other.name).unwrap(), NamespaceUse::default());
    assert!(!is_refused(&*repo, within(set([created(&neighbour)]))));

    let third = allocated(&mut maker, &tenant);
    assert!(!is_refused(&*repo, within(set([created(&third)]))));
    let empty = Payload {
        replicas: Vec::new(),
        ..allocated(&mut maker, &tenant)
    };
    assert!(is_refused(&*repo, within(set([created(&empty)]))), "a fourth payload");
    assert!(!is_refused(
        &*repo,
        within(set([changed(&one, &edited(&one, |row| row.size = 5))]))
    ));
    assert!(!is_refused(&*repo, within(set([changed(&two, &ended(&two))]))));
    assert!(!is_refused(&*repo, within(set([created(&empty)]))));
    let bigger = edited(&third, |row| row.replicas[0].charged += 4_097);
    assert!(is_refused(&*repo, within(set([changed(&third, &bigger)]))));
    assert!(
        !is_refused(&*repo, set([changed(&third, &bigger)])),
        "it was promised before"
    );
    assert_eq!(repo.namespace_use(&tenant.name).unwrap().bytes, 3 * 4_096 + 1);

    // A quota that is made larger counts at once.
    let late = allocated(&mut maker, &other);
    let smaller = NamespaceRecord {
        version: other.version.next(),
        ..bounded("other-82", None, Some(1))
    };
    repo.update_namespace(&smaller).unwrap();
    assert!(is_refused(&*repo, within(set([created(&late)]))));
    let larger = NamespaceRecord {
        version: smaller.version.next(),
        ..bounded("other-82", None, Some(2))
    };
    repo.update_namespace(&larger).unwrap();
    assert!(!is_refused(&*repo, within(set([created(&late)]))));
}

/// Whichever servers they come through, as many get in as there is room for, and no more.
pub fn many_at_once_never_exceed_a_quota(open: Open<'_>) {
    const SERVERS: u64 = 3;
    const EACH: u64 = 12;
    const ROOM: u64 = 10;
    let repo = claimed(open, &Maker::new(83));
    let tenant = bounded("tenant-83", None, Some(ROOM));
    repo.create_namespace(&tenant).unwrap();
    let start = Barrier::new((SERVERS * EACH) as usize);
    let servers: Vec<Box<dyn Repository>> = (0..SERVERS)
        .map(|server| {
            let repo = open();
            repo.claim(NodeId::from_parts(83, [server as u8 + 1; 10]), at(0))
                .unwrap();
            repo
        })
        .collect();
    let refused = thread::scope(|scope| {
        let one = |server: u64, number: u64| {
            let mut maker = Maker::new(8_300 + server * 100 + number);
            let row = allocated(&mut maker, &tenant);
            let (repo, start) = (&servers[server as usize], &start);
            scope.spawn(move || {
                start.wait();
                is_refused(&**repo, within(set([created(&row)])))
            })
        };
        let threads: Vec<_> = (0..SERVERS)
            .flat_map(|server| (0..EACH).map(move |number| (server, number)))
            .map(|(server, number)| one(server, number))
            .collect();
        let refused = threads.into_iter().map(|thread| thread.join().unwrap());
        refused.filter(|refused| *refused).count()
    });
    assert_eq!(refused as u64, SERVERS * EACH - ROOM);
    assert_eq!(repo.namespace_use(&tenant.name).unwrap().payloads, ROOM);
}
