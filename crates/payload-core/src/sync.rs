//! The two blocking primitives that the ports' users share: a signal that wakes a worker, and group commit.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::time::Span;

/// Wakes one worker. Raising it twice before the worker looks is the same as raising it once.
#[derive(Debug, Default)]
pub struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    /// Not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the worker, now or when it next waits.
    pub fn raise(&self) {
        *lock(&self.raised) = true;
        self.changed.notify_one();
    }

    /// Waits until the signal is raised or `timeout` is over, and lowers it. Without a timeout it waits for the signal alone.
    pub fn wait(&self, timeout: Option<Span>) {
        let raised = lock(&self.raised);
        let mut raised = match timeout {
            None => self
                .changed
                .wait_while(raised, |raised| !*raised)
                .unwrap_or_else(PoisonError::into_inner),
            Some(span) => {
                self.changed
                    .wait_timeout_while(raised, span, |raised| !*raised)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        *raised = false;
    }
}

/// Group commit: callers that come while a group is at work form the next group, and one of them does its work.
///
/// There is no timer and no thread of its own: a caller that finds nobody at work starts at once with whatever waits.
#[derive(Debug)]
pub struct Group<T, R> {
    size_max: usize,
    state: Mutex<GroupState<T, R>>,
}

#[derive(Debug)]
struct GroupState<T, R> {
    waiting: VecDeque<(T, Arc<Seat<R>>)>,
    busy: bool,
}

#[derive(Debug)]
struct Seat<R> {
    turn: Mutex<Turn<R>>,
    changed: Condvar,
}

#[derive(Debug)]
enum Turn<R> {
    Wait,
    Lead,
    Done(R),
    Abandoned,
}

impl<T, R> Group<T, R> {
    /// Groups hold at most `size_max` items.
    pub fn new(size_max: usize) -> Self {
        Self {
            size_max,
            state: Mutex::new(GroupState {
                waiting: VecDeque::new(),
                busy: false,
            }),
        }
    }

    /// Adds `item` to the next group and returns its result. `work` turns a group into one result for each item, in
    /// order; only one call of it runs at a time.
    ///
    /// # Panics
    ///
    /// When `work` panicked for the group that `item` was in, or returned too few results.
    pub fn run(&self, item: T, work: impl FnOnce(Vec<T>) -> Vec<R>) -> R {
        let seat = Arc::new(Seat {
            turn: Mutex::new(Turn::Wait),
            changed: Condvar::new(),
        });
        let mut state = lock(&self.state);
        state.waiting.push_back((item, Arc::clone(&seat)));
        if state.busy {
            drop(state);
            let turn = lock(&seat.turn);
            let mut turn = seat
                .changed
                .wait_while(turn, |turn| matches!(turn, Turn::Wait))
                .unwrap_or_else(PoisonError::into_inner);
            match std::mem::replace(&mut *turn, Turn::Wait) {
                Turn::Done(result) => return result,
                Turn::Abandoned => panic!("the work of this group panicked"),
                Turn::Lead | Turn::Wait => {}
            }
            drop(turn);
            state = lock(&self.state);
        }
        state.busy = true;
        self.lead(state, &seat, work)
    }

    fn lead(
        &self,
        mut state: MutexGuard<'_, GroupState<T, R>>,
        seat: &Arc<Seat<R>>,
        work: impl FnOnce(Vec<T>) -> Vec<R>,
    ) -> R {
        let count = state.waiting.len().min(self.size_max);
        let (items, seats): (Vec<T>, Vec<Arc<Seat<R>>>) = state.waiting.drain(..count).unzip();
        drop(state);

        let mut crew = Crew { group: self, seats };
        let results = work(items);
        let mut own = None;
        for (other, result) in crew.seats.drain(..).zip(results) {
            if Arc::ptr_eq(&other, seat) {
                own = Some(result);
            } else {
                other.take_turn(Turn::Done(result));
            }
        }
        drop(crew);
        own.expect("work returns a result for each item")
    }
}

impl<R> Seat<R> {
    fn take_turn(&self, turn: Turn<R>) {
        *lock(&self.turn) = turn;
        self.changed.notify_one();
    }
}

/// Passes the lead on when a group is done, even if its work panicked.
struct Crew<'a, T, R> {
    group: &'a Group<T, R>,
    seats: Vec<Arc<Seat<R>>>,
}

impl<T, R> Drop for Crew<'_, T, R> {
    fn drop(&mut self) {
        for seat in self.seats.drain(..) {
            seat.take_turn(Turn::Abandoned);
        }
        let mut state = lock(&self.group.state);
        match state.waiting.front() {
            Some((_, next)) => next.take_turn(Turn::Lead),
            None => state.busy = false,
        }
    }
}

/// Locks even if a holder panicked: the data of this module is whole at every moment a lock is given back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn callers_that_come_during_a_group_share_the_next_one() {
        let group = Arc::new(Group::<u32, u32>::new(100));
        let groups = Arc::new(AtomicUsize::new(0));
        let (started, wait_started) = mpsc::channel();
        let (go, wait_go) = mpsc::channel::<()>();
        let first = {
            let group = Arc::clone(&group);
            thread::spawn(move || {
                group.run(0, move |items| {
                    started.send(()).unwrap();
                    wait_go.recv().unwrap();
                    items
                })
            })
        };
        wait_started.recv().unwrap();
        let others: Vec<_> = (1..=32)
            .map(|item| {
                let (group, groups) = (Arc::clone(&group), Arc::clone(&groups));
                thread::spawn(move || {
                    group.run(item, move |items| {
                        groups.fetch_add(1, Ordering::Relaxed);
                        items.into_iter().map(|item| item * 2).collect()
                    })
                })
            })
            .collect();
        while lock(&group.state).waiting.len() < 32 {
            thread::yield_now();
        }
        go.send(()).unwrap();
        assert_eq!(first.join().unwrap(), 0);
        let results: Vec<u32> = others.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(results, (1..=32).map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(groups.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn groups_are_bounded_and_nobody_is_forgotten() {
        let group = Arc::new(Group::<usize, usize>::new(3));
        let threads: Vec<_> = (0..50)
            .map(|item| {
                let group = Arc::clone(&group);
                thread::spawn(move || {
                    group.run(item, |items| {
                        assert!(items.len() <= 3);
                        items
                    })
                })
            })
            .collect();
        for (item, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), item);
        }
    }

    #[test]
    fn a_panic_in_one_group_does_not_stop_the_next() {
        let group = Arc::new(Group::<u32, u32>::new(8));
        let doomed = Arc::clone(&group);
        assert!(
            thread::spawn(move || doomed.run(1, |_| panic!("work failed")))
                .join()
                .is_err()
        );
        assert_eq!(group.run(2, |items| items), 2);
    }

    #[test]
    fn a_raised_signal_is_not_lost() {
        let signal = Signal::new();
        signal.raise();
        signal.raise();
        signal.wait(None);
        signal.wait(Some(Span::ZERO));
    }
}
