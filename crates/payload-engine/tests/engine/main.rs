//! The engine through its public interface, over real repositories and real tiers, on a clock that the tests move.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod at_once;
mod common;

mod behind;
mod bucket;
mod cold;
mod compacting;
mod crashes;
mod deletes;
mod dependents;
mod doubt;
mod events;
mod evicting;
mod expiry;
mod explaining;
mod full;
mod fusing;
mod leases;
mod lifecycle;
mod lineage;
mod many_streams;
mod metadata;
mod moving;
mod names;
mod namespaces;
mod pinning;
mod placing;
mod policies;
mod popular;
mod promoting;
mod publishing;
mod quotas;
mod recovery;
mod requests;
mod restart;
mod retention;
mod sessions;
mod sinking;
mod soak;
mod squeezed;
mod streams;
mod updates;
mod urls;
mod verifying;
mod waiting;
