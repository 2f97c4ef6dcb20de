//! What must be true, as far as the workers were told; and what was told that cannot be.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use payload_core::Span;

use super::journal::{Line, Name, Role};
use crate::clock::Moment;

/// Shared by the driver and the threads that read what the workers tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Model(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    facts: Mutex<Facts>,
    more: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Acknowledged, with the place if that was told.
    pub(super) appended: HashMap<Name, Option<u64>>,
    /// Which entry is where, as anybody was told. Nobody may be told otherwise.
    pub(super) places: HashMap<u64, Name>,
    /// How often the members took each entry.
    pub(super) shared: HashMap<u64, u32>,
    /// Where the members' group is at least.
    pub(super) committed: u64,
    /// What the follower must get next.
    pub(super) follower_next: u64,
    /// By worker: nothing before this may come to it any more.
    floors: HashMap<usize, u64>,
    pub(super) wrong: Vec<String>,
}

impl Model {
    /// Takes note of what a worker told.
    pub(super) fn note(&self, worker: usize, role: Role, line: &Line) {
        self.0.facts.lock().note(worker, role, line);
        self.0.more.notify_all();
    }

    /// Looks at the facts, or corrects them.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Facts) -> T) -> T {
        look(&mut self.0.facts.lock())
    }

    /// Waits until the facts are so; false if they do not become so in time.
    pub(super) fn wait(&self, patience: Span, are_so: impl Fn(&Facts) -> bool) -> bool {
        let began = Moment::now();
        let mut facts = self.0.facts.lock();
        while !are_so(&facts) {
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                return false;
            }
            self.0.more.wait_for(&mut facts, left);
        }
        true
    }
}

impl Facts {
    /// A worker begins its life: what was committed before does not come to it.
    pub(super) fn begin(&mut self, worker: usize) {
        self.floors.insert(worker, self.committed);
    }

    fn note(&mut self, worker: usize, role: Role, line: &Line) {
        match line {
            Line::Appended { name, offset } => {
                if let Some(offset) = offset {
                    self.place(*name, *offset);
                }
                if self.appended.insert(*name, *offset).is_some() {
                    self.wrong.push(format!("{name} was acknowledged twice"));
                }
            }
            Line::Took { name, offset } => {
                self.place(*name, *offset);
                self.took(worker, role, *offset);
            }
            Line::Committed { offset } => {
                self.committed = self.committed.max(*offset);
                self.floors.insert(worker, *offset);
            }
            Line::Refused { why } => self.wrong.push(why.clone()),
        }
    }

    fn place(&mut self, name: Name, offset: u64) {
        let first = *self.places.entry(offset).or_insert(name);
        if first != name {
            self.wrong.push(format!("offset {offset} has {name}, and had {first}"));
        }
    }

    fn took(&mut self, worker: usize, role: Role, offset: u64) {
        match role {
            Role::Member => {
                *self.shared.entry(offset).or_default() += 1;
                let floor = self.floors.get(&worker).copied().unwrap_or(0);
                if offset < floor {
                    self.wrong.push(format!(
                        "offset {offset} came to a member again, after {floor} was committed"
                    ));
                }
            }
            Role::Follower if offset != self.follower_next => {
                let expected = self.follower_next;
                self.wrong
                    .push(format!("offset {offset} came to the follower, not {expected}"));
            }
            Role::Follower => self.follower_next += 1,
            Role::Producer | Role::Maker => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u64) -> Name {
        Name {
            slot: 1,
            life: 1,
            number,
        }
    }

    fn took(number: u64, offset: u64) -> Line {
        Line::Took {
            name: name(number),
            offset,
        }
    }

    /// What is found wrong after these lines of one worker.
    fn wrong(role: Role, lines: &[Line]) -> Vec<String> {
        let model = Model::default();
        model.with(|facts| facts.begin(0));
        for line in lines {
            model.note(0, role, line);
        }
        model.with(|facts| facts.wrong.clone())
    }

    #[test]
    fn what_may_happen_is_not_wrong() {
        assert!(wrong(Role::Follower, &[took(1, 0), took(2, 1)]).is_empty());
        let again = [
            took(1, 0),
            took(2, 1),
            took(1, 0),
            Line::Committed { offset: 1 },
            took(2, 1),
        ];
        assert!(
            wrong(Role::Member, &again).is_empty(),
            "what was not committed comes again"
        );
    }

    #[test]
    fn each_kind_of_fault_is_seen() {
        for (role, lines) in [
            (Role::Follower, vec![took(1, 0), took(3, 2)]),
            (Role::Follower, vec![took(1, 0), took(1, 0)]),
            (Role::Member, vec![took(1, 0), took(2, 0)]),
            (
                Role::Member,
                vec![took(1, 0), Line::Committed { offset: 1 }, took(1, 0)],
            ),
            (
                Role::Producer,
                vec![
                    Line::Appended {
                        name: name(1),
                        offset: Some(0),
                    },
                    Line::Appended {
                        name: name(2),
                        offset: Some(0),
                    },
                ],
            ),
            (
                Role::Producer,
                vec![
                    Line::Appended {
                        name: name(1),
                        offset: None,
                    },
                    Line::Appended {
                        name: name(1),
                        offset: None,
                    },
                ],
            ),
            (Role::Maker, vec![Line::Refused { why: "why".into() }]),
        ] {
            assert_eq!(wrong(role, &lines).len(), 1, "{lines:?}");
        }
    }
}
