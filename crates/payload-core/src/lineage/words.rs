//! What an edge says, and what a client says to make some.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Reason, Result};
use crate::id::PayloadId;
use crate::limits;
use crate::name::{Actor, is_deceptive};
use crate::time::Timestamp;

use super::Refusal;

/// One payload was made from another. Child, parent, operation and role say which edge it is; the first one stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// What was made.
    pub child: PayloadId,
    /// What it was made from.
    pub parent: PayloadId,
    /// How.
    pub operation: OperationName,
    /// As what the parent went in.
    pub role: Role,
    /// The operation's parameters; opaque.
    pub parameters: Arc<[u8]>,
    /// Who says so.
    pub actor: Actor,
    /// Said when, by the wall clock.
    pub at: Timestamp,
}

/// What made a child out of its parents: `resize`, `train`, `acme/denoise@2`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationName(Arc<str>);

/// As what a parent went in: `image`, `mask`; empty if nobody cares.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(Arc<str>);

impl FromStr for OperationName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() || !is_word(text) {
            return Err(Error::invalid(
                Reason::BadName,
                "operation must be 1 to 128 bytes without control or bidirectional characters",
            )
            .field("operation"));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if !is_word(text) {
            return Err(Error::invalid(
                Reason::BadName,
                "role must be at most 128 bytes without control or bidirectional characters",
            )
            .field("role"));
        }
        Ok(Self(text.into()))
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= limits::LINEAGE_WORD_LEN_MAX && !text.chars().any(is_deceptive)
}

macro_rules! word {
    ($($name:ident),*) => {$(
        impl $name {
            /// The word as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    )*};
}
word!(OperationName, Role);

/// How a payload came about: one operation, and all that went into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    operation: OperationName,
    parameters: Arc<[u8]>,
    parents: Vec<Parent>,
}

/// One thing that went into an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Which payload.
    pub payload: PayloadId,
    /// As what.
    pub role: Role,
}

impl Derivation {
    /// Checks the whole.
    pub fn new(operation: OperationName, parameters: &[u8], parents: Vec<Parent>) -> Result<Self> {
        if parameters.len() > limits::LINEAGE_PARAMETERS_LEN_MAX {
            let message = format!(
                "parameters have at most {} bytes, not {}; put larger ones into a payload and name it as a parent",
                limits::LINEAGE_PARAMETERS_LEN_MAX,
                parameters.len()
            );
            return Err(Error::invalid(Reason::BadSize, message).field("parameters"));
        }
        if parents.is_empty() {
            return Err(Error::invalid(Reason::BadRequest, "lineage must name at least one parent").field("parents"));
        }
        if parents.len() > limits::LINEAGE_PARENTS_MAX {
            let message = format!(
                "one call names at most {} parents; name the others in further calls",
                limits::LINEAGE_PARENTS_MAX
            );
            return Err(Error::invalid(Reason::BadRequest, message).field("parents"));
        }
        Ok(Self {
            operation,
            parameters: parameters.into(),
            parents,
        })
    }

    /// Its edges to a child, which must not be its own parent.
    pub fn edges(&self, child: PayloadId, actor: &Actor, at: Timestamp) -> Result<Vec<Edge>> {
        if self.parents.iter().any(|parent| parent.payload == child) {
            return Err(Refusal::Cycle { child, parent: child }.into());
        }
        let edge = |parent: &Parent| Edge {
            child,
            parent: parent.payload,
            operation: self.operation.clone(),
            role: parent.role.clone(),
            parameters: Arc::clone(&self.parameters),
            actor: actor.clone(),
            at,
        };
        Ok(self.parents.iter().map(edge).collect())
    }

    /// All that it says, so that a retry can be told from another request. No two derivations have the same text.
    pub fn fingerprint(&self) -> Vec<u8> {
        let mut text = format!("{:?} {:?}", self.operation, self.parameters.len()).into_bytes();
        text.extend_from_slice(&self.parameters);
        for parent in &self.parents {
            text.extend_from_slice(format!(" {} {:?}", parent.payload, parent.role).as_bytes());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(number: u8) -> PayloadId {
        PayloadId::from_parts(1, [number; 10])
    }

    fn parents(count: usize) -> Vec<Parent> {
        let parent = Parent {
            payload: payload(1),
            role: Role::default(),
        };
        vec![parent; count]
    }

    fn derivation(parameters: usize, count: usize) -> Result<Derivation> {
        Derivation::new("resize".parse().unwrap(), &vec![0; parameters], parents(count))
    }

    #[test]
    fn words_are_short_and_do_not_deceive() {
        for good in ["resize", "ü ✓ <&> \"x\"", &"w".repeat(128)] {
            assert_eq!(good.parse::<OperationName>().unwrap().as_str(), good);
            assert_eq!(good.parse::<Role>().unwrap().as_str(), good);
        }
        for bad in ["a\0", "a\nb", "\u{202e}x", &"w".repeat(129)] {
            assert_eq!(bad.parse::<OperationName>().unwrap_err().reason(), Reason::BadName);
            assert_eq!(bad.parse::<Role>().unwrap_err().reason(), Reason::BadName);
        }
        assert!("".parse::<OperationName>().is_err());
        assert!("".parse::<Role>().is_ok());
    }

    #[test]
    fn derivations_are_bounded_on_every_side() {
        let refused = |result: Result<Derivation>| result.unwrap_err().reason();
        assert!(derivation(limits::LINEAGE_PARAMETERS_LEN_MAX, limits::LINEAGE_PARENTS_MAX).is_ok());
        assert_eq!(
            refused(derivation(limits::LINEAGE_PARAMETERS_LEN_MAX + 1, 1)),
            Reason::BadSize
        );
        assert_eq!(
            refused(derivation(0, limits::LINEAGE_PARENTS_MAX + 1)),
            Reason::BadRequest
        );
        assert_eq!(refused(derivation(0, 0)), Reason::BadRequest);
    }

    #[test]
    fn fault_50_nothing_is_its_own_parent() {
        let derivation = derivation(0, 1).unwrap();
        let (actor, at) = (Actor::server("test"), Timestamp::from_micros(1));
        assert_eq!(derivation.edges(payload(2), &actor, at).unwrap().len(), 1);
        let error = derivation.edges(payload(1), &actor, at).unwrap_err();
        assert_eq!(error.reason(), Reason::LineageCycle);
    }
}
