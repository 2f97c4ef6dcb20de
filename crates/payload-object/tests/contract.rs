//! Every adapter fulfils the contract of the port.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, though not in a test module"
)]

mod common;

mod directory {
    use std::sync::Arc;

    use payload_object::DirectoryStore;
    use payload_testkit::object::World;

    fn world() -> World {
        let dir = tempfile::tempdir().unwrap();
        World {
            store: Arc::new(DirectoryStore::open(&dir.path().join("objects")).unwrap()),
            keep: Box::new(dir),
        }
    }

    payload_testkit::object_contract!(world);
}

mod s3 {
    use std::sync::Arc;

    use payload_testkit::object::World;

    use crate::common::Rig;

    fn world() -> World {
        let rig = Rig::new();
        World {
            store: Arc::clone(&rig.store) as _,
            keep: Box::new(rig),
        }
    }

    payload_testkit::object_contract!(world);
}
