//! Damage as people hear of it.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use world::{World, bytes, files_below};

#[test]
fn damage_is_mended_where_there_is_a_copy_and_told_where_there_is_none() {
    let world = World::new();
    let content = bytes(3_000_000);
    let id = world.put(&content, &["--durability", "host"]);
    let sound = world.ok(&["verify", "--bytes", &id]);
    assert!(sound.contains("1 payloads verified, 5.72 MiB read"), "{sound}");
    let damage = || {
        let disk = world.data().join("disk");
        let file = files_below(&disk)
            .into_iter()
            .find(|file| file.metadata().unwrap().len() >= 3_000_000);
        let file = file.unwrap();
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, vec![7; 3_000_000]).unwrap();
    };
    damage();
    let mended = world.ok(&["verify", "--bytes", "--all"]);
    assert!(
        mended.contains("damaged in disk, made again from a sound one"),
        "{mended}"
    );
    world.ok(&["spill", &id]);
    assert!(world.run(&["cat", &id]).stdout == content);
    damage();
    let lost = world.run(&["verify", "--bytes", "--all"]);
    assert_eq!(lost.code, 5, "{}", lost.stderr);
    let told = String::from_utf8(lost.stdout).unwrap();
    assert!(told.contains("the last one: the payload is lost"), "{told}");
    for args in [
        &["verify"][..],
        &["verify", "--bytes"],
        &["verify", "--bytes", "--all", &id],
    ] {
        assert_eq!(world.run(args).code, 2, "{args:?}");
    }
}
