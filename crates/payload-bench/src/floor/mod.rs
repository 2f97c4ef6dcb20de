//! Floors: the least that the machine asks for what the server does, measured in the same run.

pub(crate) mod echo;
pub(crate) mod fio;
pub(crate) mod postgres;
pub(crate) mod sendfile;
pub(crate) mod transaction;
pub(crate) mod unary;
