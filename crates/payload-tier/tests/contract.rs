//! Every adapter fulfils the contract of the port, in each of its ways to work.

mod common;

mod ram {
    use std::sync::Arc;

    use payload_testkit::tier::World;

    use crate::common::{MapKeeper, ram, ram_options};

    fn world(capacity: u64) -> World {
        let keeper = Arc::new(MapKeeper::default());
        World {
            store: Arc::new(ram(ram_options(capacity), &keeper)),
            keep: Box::new(keeper),
        }
    }

    payload_testkit::tier_contract!(world);
}

mod disk_unnamed {
    use crate::common::{disk_options, disk_world};

    payload_testkit::tier_contract!(|capacity| disk_world(&disk_options(capacity)));
}

mod disk_named {
    use payload_tier::{DiskOptions, Temporaries};

    use crate::common::{disk_options, disk_world};

    payload_testkit::tier_contract!(|capacity| disk_world(&DiskOptions {
        temporaries: Temporaries::Named,
        ..disk_options(capacity)
    }));
}
