//! Decides which call to a port fails: counts them all, and "kills" the process at the chosen one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use payload_core::{Error, Reason, Result, Tier};

use super::gate::{Gate, Shared};

/// Shared by all decorators of one simulated process.
#[derive(Debug, Default)]
pub struct Switch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    calls: u64,
    by_name: HashMap<&'static str, u64>,
    kill: Option<(u64, Moment)>,
    kill_before: Option<&'static str>,
    fail: Vec<(&'static str, Moment)>,
    hold: Option<(&'static str, Arc<Shared>)>,
    attainable: HashMap<Tier, u64>,
    dead: bool,
}

/// When, relative to the call, the fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of the call happens.
    Before,
    /// The call takes effect, and nobody hears of it.
    After,
}

impl Switch {
    /// Counts calls and lets them through.
    pub fn new() -> Self {
        Self::default()
    }

    /// From the `number`th call on (counted from zero, from now) nothing is let through: a process that was killed does
    /// nothing more, not even clean up.
    pub fn kill_at(&self, number: u64, moment: Moment) {
        let mut state = self.state();
        state.kill = Some((state.calls + number, moment));
    }

    /// The next call of this name is the first that is not let through.
    pub fn kill_before(&self, name: &'static str) {
        self.state().kill_before = Some(name);
    }

    /// The next call of this name fails, once.
    pub fn fail_next(&self, name: &'static str, moment: Moment) {
        self.state().fail.push((name, moment));
    }

    /// The next call of this name waits in front of the gate, once.
    pub fn hold_next(&self, name: &'static str) -> Gate {
        let gate = Gate::default();
        self.state().hold = Some((name, gate.shared()));
        gate
    }

    /// From the next look on the machine can give a tier so much; with none, whatever it wants.
    pub fn set_attainable(&self, tier: Tier, bytes: Option<u64>) {
        let attainable = &mut self.state().attainable;
        match bytes {
            Some(bytes) => attainable.insert(tier, bytes),
            None => attainable.remove(&tier),
        };
    }

    /// What the machine can give a tier.
    pub(super) fn attainable(&self, tier: Tier) -> Option<u64> {
        self.state().attainable.get(&tier).copied()
    }

    /// Whether the kill has happened.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// How many calls of this name there were.
    pub fn calls(&self, name: &str) -> u64 {
        self.state().by_name.get(name).copied().unwrap_or(0)
    }

    /// Counts something that is no call of its own, and cannot fail by itself.
    pub fn count(&self, name: &'static str) {
        *self.state().by_name.entry(name).or_default() += 1;
    }

    /// Makes a call, or what the fault leaves of it.
    pub fn run<T>(&self, name: &'static str, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let held = self.state().hold.take_if(|(held, _)| *held == name);
        if let Some((_, gate)) = held {
            gate.pass();
        }
        match self.fate(name) {
            None => call(),
            Some((error, Moment::Before)) => Err(error),
            Some((error, Moment::After)) => {
                let _unheard = call();
                self.die_if_killed();
                Err(error.outcome_unknown())
            }
        }
    }

    fn fate(&self, name: &'static str) -> Option<(Error, Moment)> {
        let mut state = self.state();
        if state.dead {
            return Some((killed(), Moment::Before));
        }
        let number = state.calls;
        state.calls += 1;
        *state.by_name.entry(name).or_default() += 1;
        if state.kill_before == Some(name) {
            state.dead = true;
            return Some((killed(), Moment::Before));
        }
        if let Some((at, moment)) = state.kill
            && at == number
        {
            // A call that still takes effect may itself make calls (a store its keeper's), which must go through.
            state.dead = moment == Moment::Before;
            return Some((killed(), moment));
        }
        let at = state.fail.iter().position(|(failing, _)| *failing == name)?;
        let (_, moment) = state.fail.remove(at);
        Some((Error::new(Reason::Internal, "failed on purpose"), moment))
    }

    fn die_if_killed(&self) {
        let mut state = self.state();
        state.dead = state.kill.is_some_and(|(at, _)| at < state.calls);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the last call happened is what nobody knows of a killed process.
fn killed() -> Error {
    Error::new(Reason::Internal, "the process was killed on purpose").outcome_unknown()
}
