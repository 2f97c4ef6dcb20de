//! What goes wrong between a store and its clients, chosen by a test.

use std::sync::{Mutex, PoisonError};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered.
    None,
    /// It is answered with a status and nothing else, and not done.
    Refuse(u16),
    /// It is answered that there is no such bucket, and not done.
    NoBucket,
    /// It is not answered.
    Silence,
    /// Its connection ends before it is done.
    CutRequest,
    /// It is done, and its connection ends before the answer.
    LoseAnswer,
    /// It is done, and not answered.
    WithholdAnswer,
    /// One bit of its body turns on the way.
    DamageRequest,
    /// Its answer breaks off in the middle.
    CutAnswer,
    /// Its answer has half of the bytes, and says that this is right.
    ShortAnswer,
    /// It is not done, and answered with a success that has a refusal of this name inside.
    ErrorInside(&'static str),
    /// It is done, and its answer is a success that says nothing.
    EmptyAnswer,
    /// The object that it is about is forgotten first, as if the store did not look whether one is there.
    ForgetObject,
}

/// Which requests a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    Any,
    /// Those that store an object or a part.
    Put,
    /// Those that store a part.
    Part,
    /// Those that read.
    Get,
    /// The one that makes an object of parts.
    Complete,
    /// Those that remove many objects.
    Remove,
}

/// The faults to come.
#[derive(Debug, Default)]
pub struct Weather(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many requests of which kind still meet which fault.
    coming: Option<(Which, Fault, u32)>,
    requests: u64,
    puts: u64,
    puts_peak: u64,
}

/// A request to store that has come and is not done with; ends when dropped.
#[derive(Debug)]
pub(super) struct UnderWay<'a>(&'a Weather);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state().puts -= 1;
    }
}

impl Weather {
    /// The next `count` requests of a kind meet a fault; then all is well again.
    pub fn set(&self, which: Which, fault: Fault, count: u32) {
        self.state().coming = Some((which, fault, count));
    }

    /// Until [`clear`](Self::clear), all requests of a kind meet a fault.
    pub fn set_for_all(&self, which: Which, fault: Fault) {
        self.set(which, fault, u32::MAX);
    }

    /// All is well from now on.
    pub fn clear(&self) {
        self.state().coming = None;
    }

    /// How many requests came so far.
    pub fn requests(&self) -> u64 {
        self.state().requests
    }

    /// How many requests that store an object or a part were under way at the same time, at most.
    pub fn puts_peak(&self) -> u64 {
        self.state().puts_peak
    }

    pub(super) fn enter(&self, method: &str) -> Option<UnderWay<'_>> {
        let mut state = self.state();
        (method == "PUT").then(|| {
            state.puts += 1;
            state.puts_peak = state.puts_peak.max(state.puts);
            UnderWay(self)
        })
    }

    /// How often the fault will still happen.
    pub fn left(&self) -> u32 {
        self.state().coming.map_or(0, |(_, _, count)| count)
    }

    pub(super) fn next(&self, method: &str, query: &str) -> Fault {
        let mut state = self.state();
        state.requests += 1;
        let Some((which, fault, count)) = &mut state.coming else {
            return Fault::None;
        };
        if *count == 0 || !which.is(method, query) {
            return Fault::None;
        }
        *count -= 1;
        *fault
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Which {
    fn is(self, method: &str, query: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Put => method == "PUT",
            Self::Part => method == "PUT" && query.contains("partNumber="),
            Self::Get => method == "GET",
            Self::Complete => method == "POST" && query.starts_with("uploadId="),
            Self::Remove => method == "POST" && query == "delete",
        }
    }
}
