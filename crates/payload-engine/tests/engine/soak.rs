//! Eight threads do everything at once, and at the end nothing is left over.

use std::sync::{Arc, Mutex};

use payload_core::{Durability, LeaseId, Namespace, PayloadId, Tier};
use payload_engine::{AcquireOptions, Grant, Holder};
use payload_testkit::clock::{Rng, fresh_seed};

use crate::common::calls::{Filled, allocate_request, bytes, delete_request, fill, put_request};
use crate::common::{Backend, Rig, Setup, alice, secs};

const THREADS: u64 = 8;
const OPERATIONS: u64 = 400;
const PAYLOADS_MAX: usize = 50;
const LEASES_MAX: usize = 200;

/// One client.
struct Client<'a> {
    rig: &'a Rig,
    ids: &'a Mutex<Vec<PayloadId>>,
    holder: Arc<Holder>,
    rng: Rng,
    leases: Vec<(PayloadId, Grant)>,
    open: Vec<Filled>,
}

impl Client<'_> {
    fn some_id(&mut self) -> Option<PayloadId> {
        let ids = self.ids.lock().unwrap();
        (!ids.is_empty()).then(|| *self.rng.pick(&ids))
    }

    fn publish(&self, id: PayloadId) {
        let mut ids = self.ids.lock().unwrap();
        if ids.len() == PAYLOADS_MAX {
            ids.remove(0);
        }
        ids.push(id);
    }

    /// Any refusal is fine here; what must hold is looked at in the end.
    fn act(&mut self) {
        let durability = match self.rig.setup.backend {
            Backend::Sqlite if self.rng.one_in(4) => Durability::Host,
            _ => Durability::Volatile,
        };
        match self.rng.below(12) {
            0 | 1 => self.put(durability),
            2 => self.allocate(durability),
            3 => self.finish(),
            4..=6 => self.acquire(),
            7 => self.renew(),
            8 | 9 => self.release(),
            10 => self.delete(),
            _ => self.housekeeping(),
        }
    }

    fn put(&mut self, durability: Durability) {
        let seed = self.rng.below(1_000);
        let mut put = put_request(&bytes(seed, seed * 10), Tier::Ram, durability);
        put.ttl = self.rng.one_in(3).then(|| secs(1 + self.rng.below(5)));
        put.request_id = self
            .rng
            .one_in(3)
            .then(|| format!("p{}", self.rng.below(20)).parse().unwrap());
        if let Ok(row) = self.rig.put(&self.holder, &put) {
            self.publish(row.id);
        }
    }

    fn allocate(&mut self, durability: Durability) {
        let size = self.rng.below(100_000);
        let mut request = allocate_request(size, Tier::Ram, durability);
        request.timeout = self.rng.one_in(2).then(|| secs(1 + self.rng.below(3)));
        if let Ok(allocation) = self.rig.allocate(&self.holder, &request) {
            self.publish(allocation.row.id);
            self.open.push(fill(allocation, size));
        }
    }

    fn finish(&mut self) {
        let Some(filled) = self.open.pop() else { return };
        if self.rng.one_in(4) {
            let id = filled.row.id;
            let _late = self.rig.abort(&self.holder, &Namespace::default(), id, None, "".into());
        } else {
            let _late = self.rig.commit(&self.holder, &filled.commit_request());
        }
    }

    fn acquire(&mut self) {
        let Some(id) = self.some_id() else { return };
        if self.rng.one_in(3) {
            let (rig, holder) = (self.rig, &self.holder);
            let options = AcquireOptions::default();
            rig.acquire_when_committed(holder, &Namespace::default(), id, options, secs(1), drop);
        } else if self.leases.len() < LEASES_MAX
            && let Ok(grant) = self.rig.lease_for(&self.holder, id, secs(1 + self.rng.below(9)))
        {
            let content = match &grant.access {
                payload_engine::Access::Elsewhere => Vec::new(),
                _ => self.rig.read(&grant),
            };
            if let (Some(digest), false) = (grant.row.digest, content.is_empty()) {
                assert_eq!(payload_core::Digest::of(&content), digest, "wrong bytes");
            }
            self.leases.push((id, grant));
        }
    }

    fn some_lease(&mut self) -> Option<usize> {
        let len = self.leases.len() as u64;
        (len > 0).then(|| self.rng.below(len) as usize)
    }

    fn renew(&mut self) {
        if let Some(at) = self.some_lease() {
            let _over = self.rig.renew_for(&self.holder, &self.leases[at].1, Some(secs(5)));
        }
    }

    fn release(&mut self) {
        if let Some(at) = self.some_lease() {
            let lease: LeaseId = self.leases.swap_remove(at).1.lease;
            let _over = self.rig.release(&self.holder, lease);
        }
    }

    fn delete(&mut self) {
        if let Some(id) = self.some_id() {
            let mut request = delete_request(id);
            request.force = self.rng.one_in(3);
            let _gone = self.rig.delete(&alice(), &request);
        }
    }

    fn housekeeping(&mut self) {
        match self.rng.below(6) {
            0 => self.rig.clock.advance(std::time::Duration::from_millis(200)),
            1 => self.rig.run_timers(),
            2 => self.rig.run_drains(),
            3 => drop(self.rig.expire_due().unwrap()),
            4 => drop(self.rig.sweep().unwrap()),
            _ if self.holder.kind == payload_core::lease::HolderKind::Local => {
                self.rig.close_session(&self.holder);
                self.holder = self.rig.session();
                self.leases.clear();
                self.open.clear();
            }
            _ => {}
        }
    }
}

fn soak(backend: Backend) {
    let seed = fresh_seed();
    eprintln!("seed {seed}");
    let rig = Setup {
        backend,
        ram: 24 << 20,
        ..Setup::default()
    }
    .with(|s| {
        s.cold_entries_max = 64;
        s.caps.leases_per_principal = 2_000;
        s.caps.allocations_per_principal = 100;
    })
    .start();
    let ids = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (rig, ids) = (&rig, &ids);
            scope.spawn(move || {
                let mut client = Client {
                    rig,
                    ids,
                    holder: if thread == 0 {
                        rig.remote(&alice())
                    } else {
                        rig.session()
                    },
                    rng: Rng::new(seed ^ (thread << 32)),
                    leases: Vec::new(),
                    open: Vec::new(),
                };
                for _ in 0..OPERATIONS {
                    client.act();
                }
                rig.close_session(&client.holder);
            });
        }
    });
    rig.clock.advance(secs(700));
    rig.tick();
    rig.quiesce();
    rig.check_at_rest();
    check_nothing_is_counted(&rig);
}

/// Whoever holds nothing can have as much as the caps allow.
fn check_nothing_is_counted(rig: &Rig) {
    let session = rig.session();
    let id = rig.put_small(&session, 1).id;
    (0..2_000).for_each(|_| drop(rig.lease(&session, id).unwrap()));
    rig.lease(&session, id).unwrap_err();
    let request = allocate_request(0, Tier::Ram, Durability::Volatile);
    (0..100).for_each(|_| drop(rig.allocate(&session, &request).unwrap()));
    rig.allocate(&session, &request).unwrap_err();
    let more: Vec<_> = (1..rig.setup.settings.caps.sessions_per_principal)
        .map(|_| rig.session())
        .collect();
    more.iter()
        .chain([&session])
        .for_each(|session| rig.close_session(session));
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn everything_at_once_over_memory() {
    soak(Backend::Memory);
}

#[test]
fn everything_at_once_over_sqlite() {
    soak(Backend::Sqlite);
}
