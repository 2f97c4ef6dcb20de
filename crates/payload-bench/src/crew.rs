//! Clients that work at the same time: threads, each with a connection of its own.

use std::sync::Barrier;

use anyhow::{Result, anyhow};
use payload_core::Span;
use tokio::runtime::{Builder, Runtime};

use crate::measure::Round;

/// Sets up so many clients, lets them work at the same time, and measures that together with the process `peer`.
/// Connections stay open until everything is measured, because CPU time of threads that ended cannot be read.
pub(crate) fn together<S>(
    clients: usize,
    peer: u32,
    set_up: impl Fn() -> Result<S> + Sync,
    work: impl Fn(&mut S) -> Result<Vec<Span>> + Sync,
) -> Result<Round> {
    let [begin, done, leave] = [(); 3].map(|()| Barrier::new(clients + 1));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let mut state = set_up();
                    begin.wait();
                    let latencies = state.as_mut().map(&work);
                    done.wait();
                    leave.wait();
                    match latencies {
                        Ok(latencies) => latencies,
                        Err(_) => state.map(|_| Vec::new()),
                    }
                })
            })
            .collect();
        begin.wait();
        let mut round = Round::of(Some(peer), || {
            done.wait();
            Ok(Vec::new())
        })?;
        leave.wait();
        for thread in threads {
            let latencies = thread.join().map_err(|_| anyhow!("a client panicked"))?;
            round.latencies.extend(latencies?);
        }
        Ok(round)
    })
}

/// An event loop of the calling thread alone.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}
