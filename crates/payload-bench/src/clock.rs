//! The clocks of a measurement: time that passes, and CPU time that processes use.

use payload_core::Span;
use rustix::time::{ClockId, clock_gettime};

/// A point in time to measure from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(Span);

impl Moment {
    pub(crate) fn now() -> Self {
        Self(read(ClockId::Monotonic))
    }

    /// A number that is another one each time.
    pub(crate) fn as_seed(self) -> u64 {
        self.0.as_secs().rotate_left(32) ^ u64::from(self.0.subsec_nanos())
    }

    pub(crate) fn elapsed(self) -> Span {
        Self::now().since(self)
    }

    /// Nothing if this was before.
    pub(crate) fn since(self, earlier: Self) -> Span {
        self.0.saturating_sub(earlier.0)
    }

    /// For another process on the same host, whose clock is the same.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.as_nanos().to_le_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let nanos = u128::from_le_bytes(bytes.try_into().ok()?);
        Some(Self(Span::from_nanos(u64::try_from(nanos).ok()?)))
    }
}

/// CPU time that this process has used, all threads together.
pub(crate) fn own_cpu() -> Span {
    read(ClockId::ProcessCPUTime)
}

/// CPU time that the living threads of a process have used. Threads that ended in between are missing, so measure while
/// the sessions are open.
pub(crate) fn cpu_of(pid: u32) -> Span {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Span::ZERO;
    };
    let nanos = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Span::from_nanos(nanos.sum())
}

fn read(clock: ClockId) -> Span {
    let time = clock_gettime(clock);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    Span::from_secs(part(time.tv_sec)) + Span::from_nanos(part(time.tv_nsec))
}
