//! What a directory that stands for a bucket owes beyond the contract.

use std::os::unix::fs::symlink;

use payload_core::Reason;
use payload_core::port::{Content, ObjectStore};
use payload_object::DirectoryStore;
use payload_testkit::object::{bytes, key, read, refusal};

/// Two servers share it.
#[test]
fn a_second_store_sees_what_the_first_one_stored() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = [(); 2].map(|()| DirectoryStore::open(dir.path()).unwrap());
    one.put(&key(1), Content::Bytes(b"bytes")).unwrap();
    assert_eq!(read(&two, &key(1), 0..5).unwrap(), b"bytes");
    assert_eq!(
        two.put(&key(1), Content::Bytes(b"other")).unwrap_err().reason(),
        Reason::ObjectExists
    );
}

/// A writer that was killed leaves a file under a temporary name, which is never taken for an object.
#[test]
fn fault_37_what_a_killed_writer_left_is_listed_and_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(dir.path()).unwrap();
    let leaf = key(1).as_str().replace('/', "+");
    let left = dir.path().join(format!(".tmp/{leaf}+0123456789abcdef"));
    std::fs::write(&left, bytes(1, 1_000)).unwrap();
    assert_eq!(store.list(None, 10).unwrap(), []);
    assert_eq!(store.stat(&key(1)).unwrap(), None);
    let [upload] = &store.uploads(None, 10).unwrap()[..] else {
        panic!("one upload was begun")
    };
    assert_eq!(upload.key, Some(key(1)));
    store.abort(upload).unwrap();
    store.abort(upload).unwrap();
    assert!(!left.exists());
    store.put(&key(1), Content::Bytes(b"bytes")).unwrap();
}

/// Whoever may write to the directory cannot have other files read, nor removed.
#[test]
fn links_lead_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join(key(1).as_str().split_once('/').unwrap().1), b"secret").unwrap();
    let inside = dir.path().join("objects");
    let store = DirectoryStore::open(&inside).unwrap();
    symlink(&outside, inside.join("01")).unwrap();
    assert_eq!(refusal(&store, &key(1), 0..6), Reason::BytesCorrupt);
    assert_eq!(
        store.put(&key(1), Content::Bytes(b"x")).unwrap_err().reason(),
        Reason::BytesCorrupt
    );
    store.remove(&[key(1)]).unwrap_err();
    let mut upload = payload_core::port::ListedUpload {
        id: "../../outside/x+0".into(),
        key: None,
        begun_at: payload_core::Timestamp::from_micros(0),
    };
    assert_eq!(store.abort(&upload).unwrap_err().reason(), Reason::BadName);
    upload.id = "..".into();
    assert_eq!(store.abort(&upload).unwrap_err().reason(), Reason::BadName);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}
