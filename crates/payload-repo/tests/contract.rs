//! All adapters fulfil the one contract.
#![allow(missing_docs)]

mod support;

mod memory {
    payload_testkit::repository_contract!(super::support::memory());
}

mod sqlite {
    payload_testkit::repository_contract!(super::support::sqlite());
}

mod postgres {
    payload_testkit::repository_contract!(super::support::postgres());
}
