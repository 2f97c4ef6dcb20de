//! Reads of a little more than RAM holds, of which some payloads get many more than others.

use payload_core::{Durability, Namespace, PayloadId, Policy, Priority, Span, Tier};
use payload_engine::AllocateRequest;

use crate::common::calls::{allocate_request, fill};
use crate::common::{Rig, Setup, bytes};

const SIZE: u64 = 100_000;
/// A fifth more than RAM has room for.
const COUNT: usize = 60;
const READS: usize = 2_400;

/// Numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn part(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The k-th most popular is read in proportion to 1/k. Neighbours in rank are not neighbours in age.
fn zipf() -> Vec<usize> {
    let mut sums: Vec<f64> = Vec::new();
    for k in 1..=COUNT {
        sums.push(sums.last().unwrap_or(&0.0) + 1.0 / k as f64);
    }
    let mut random = Random(46);
    let mut place = || {
        let at = random.part() * sums[COUNT - 1];
        sums.partition_point(|sum| *sum < at) * 37 % COUNT
    };
    (0..READS).map(|_| place()).collect()
}

fn is_in_ram(rig: &Rig, id: PayloadId) -> bool {
    let row = rig.repository().get(id).unwrap().unwrap();
    row.replicas.iter().any(|replica| replica.tier() == Tier::Ram)
}

#[test]
fn fault_46_what_is_popular_comes_up_and_not_much_is_moved_for_it() {
    let rig = Setup {
        ram: COUNT as u64 * SIZE.next_multiple_of(4096) * 5 / 6,
        ..Setup::default()
    }
    .start();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..COUNT)
        .map(|seed| {
            let id = rig.put_large(&session, SIZE, seed as u64).id;
            rig.evict();
            id
        })
        .collect();
    let copies = rig.switch.calls("tier.copy_in");
    let mut found = 0;
    for (number, place) in zipf().into_iter().enumerate() {
        let late = number >= READS / 2;
        found += usize::from(late && is_in_ram(&rig, ids[place]));
        let lease = rig.lease(&session, ids[place]).unwrap().lease;
        rig.release(&session, lease).unwrap();
        rig.clock.advance(Span::from_millis(25));
        rig.fetch_wishes();
        rig.evict();
    }
    let copies = rig.switch.calls("tier.copy_in") - copies;
    assert!(
        copies <= 2 * COUNT as u64,
        "{copies} copies of a working set of {COUNT}"
    );
    // The best three quarters of all payloads get 94 % of these reads.
    let share = found * 100 / (READS / 2);
    assert!(share >= 90, "{share} % were found in RAM");
    for (place, id) in ids.iter().enumerate() {
        assert_eq!(rig.content(&session, *id), bytes(place as u64, SIZE));
    }
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn what_is_hot_takes_nobodys_place_whose_priority_is_higher() {
    for (priority, comes) in [(Priority::High, false), (Priority::Normal, true), (Priority::Low, true)] {
        let rig = Setup {
            ram: 10 * SIZE.next_multiple_of(4096),
            ..Setup::default()
        }
        .start();
        let session = rig.session();
        let hot = rig.put_large(&session, SIZE, 0).id;
        rig.spill(&Namespace::default(), hot, Tier::Disk).unwrap();
        for seed in 1..10 {
            let policy = Policy {
                priority,
                ..Policy::default()
            };
            let request = AllocateRequest {
                policy,
                ..allocate_request(SIZE, Tier::Ram, Durability::Volatile)
            };
            let filled = fill(rig.allocate(&session, &request).unwrap(), seed);
            rig.commit(&session, &filled.commit_request()).unwrap();
        }
        for _ in 0..10 {
            rig.content(&session, hot);
        }
        rig.fetch_wishes();
        assert_eq!(is_in_ram(&rig, hot), comes, "among those of priority {priority}");
        let in_ram = rig.rows().iter().filter(|row| is_in_ram(&rig, row.id)).count();
        assert_eq!(in_ram, 9, "as many went as came");
    }
}
