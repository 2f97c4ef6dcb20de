//! Contract suites, a manual clock and faulty ports for tests; only ever a dev-dependency.

pub mod clock;
pub mod faulty;
pub mod object;
pub mod power;
pub mod process;
pub mod repository;
pub mod tier;
