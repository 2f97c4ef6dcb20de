//! How a tier that is full makes room: the decisions, without the bytes.
//!
//! A payload has *replicas*. Nothing here moves one; two things can be done to a payload, and everything is made of them:
//! *add* a replica in another tier, and *drop* one that is not the last. A spill is an add below and then a drop above,
//! a promotion is an add above, and a replica that has a copy below is *clean*: dropping it costs no copy.
//!
//! Six questions are answered in this module, each by a part that knows nothing of the others:
//!
//! | question | part |
//! |---|---|
//! | How much has to go? | [`Watermarks`]: nothing below the high mark, then as much as brings the tier to the low one |
//! | May it go at all, and how? | [`Facts`]: every reason to stay has a name, which operators see too |
//! | What goes first? | [`Victims`]: low priority before high, and among equals by S3-FIFO |
//! | What comes up unasked? | [`Heat`]: what is used clearly more than what would have to go for it |
//! | Is a store worth asking? | [`Breaker`]: one that has not answered is left alone for a while |
//! | Who gets the room? | [`Turns`]: whoever waits, fair between namespaces by bytes |
//!
//! What may not go is not asked about again and again: a replica that is leased, pinned, or on its way somewhere is put out
//! of the index when it is first met there, and put back when that ends. So one payload that is held for ever costs one look.

mod breaker;
mod heat;
mod pressure;
mod standing;
mod turns;
mod victims;

pub use breaker::{Breaker, Gate};
pub use heat::Heat;
pub use pressure::Watermarks;
pub use standing::{Exit, Facts, Keep};
pub use turns::Turns;
pub use victims::{Look, Victims};

#[cfg(test)]
mod trace;
