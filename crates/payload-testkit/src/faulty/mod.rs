//! Ports that fail on purpose: decorators around the real ones, steered by a [`Switch`], and a keeper and a bucket that
//! are only maps.

mod bucket;
mod fds;
mod gate;
mod repository;
mod switch;
mod tier;

pub use bucket::{FaultyBucket, MapBucket};
pub use fds::{FaultyFds, MapFds};
pub use gate::Gate;
pub use repository::FaultyRepository;
pub use switch::{Moment, Switch};
pub use tier::FaultyTier;
