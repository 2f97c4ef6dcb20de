//! `get` and `cat`: a payload's bytes, compared with their digest before anybody sees them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use payload_client::{AcquireOptions, InBucket, Lease, PayloadRef, Verified};
use tempfile::NamedTempFile;

use super::Server;
use crate::args::GetArgs;
use crate::failure::Failure;
use crate::human;
use crate::json::Got;
use crate::output::Output;
use crate::transfer;

pub(super) async fn get(server: &Server, args: GetArgs, output: &Output) -> Result<(), Failure> {
    let path = args.file.unwrap_or_else(|| file_named(&args.id));
    let what = format!("get {}", args.id);
    let in_the_way = || Failure::exists(&what, format!("{} exists", path.display()));
    if !args.force && path.symlink_metadata().is_ok() {
        return Err(in_the_way());
    }
    let options = AcquireOptions {
        in_bucket: match args.from_bucket {
            true => InBucket::ByUrl,
            false => InBucket::Fetched,
        },
        ..AcquireOptions::default()
    };
    let (lease, verified) = open(server, args.id, options, &what).await?;
    let written = write(&lease, &path, args.force).await;
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => in_the_way(),
        _ => Failure::io(format!("write {}", path.display()), &error),
    })?;
    let got = Got {
        payload_id: lease.descriptor().payload_id.clone(),
        file: path.display().to_string(),
        size: lease.len() as u64,
        digest: lease.descriptor().digest.clone(),
        verified: verified == Verified::Matches,
    };
    output.print(&got, |_| format!("{}  {}", got.file, human::size(got.size)))
}

pub(super) async fn cat(server: &Server, id: PayloadRef) -> Result<(), Failure> {
    let what = format!("cat {id}");
    let (lease, _) = open(server, id, AcquireOptions::default(), &what).await?;
    let written = transfer::write_all(&lease, io::stdout()).await;
    written
        .map(drop)
        .map_err(|error| Failure::io("write to standard output", &error))
}

/// Named like the id, or like the last part of the name.
fn file_named(payload: &PayloadRef) -> PathBuf {
    match payload {
        PayloadRef::Id(id) => PathBuf::from(id.to_string()),
        PayloadRef::Name(name) => name.as_str().rsplit('/').next().unwrap_or(name.as_str()).into(),
    }
}

async fn open(
    server: &Server,
    id: PayloadRef,
    options: AcquireOptions,
    what: &str,
) -> Result<(Arc<Lease>, Verified), Failure> {
    let client = server.client().await?;
    let lease = client
        .acquire(id, options)
        .await
        .map_err(|error| Failure::new(what, &error))?;
    let lease = Arc::new(lease);
    let checked = Arc::clone(&lease);
    let verified = tokio::task::spawn_blocking(move || checked.verify()).await;
    let verified = verified.map_err(|error| Failure::io(what, &io::Error::other(error)))?;
    Ok((lease, verified.map_err(|error| Failure::new(what, &error))?))
}

/// Writes to a file beside `path` that takes its place when it is complete.
async fn write(lease: &Arc<Lease>, path: &Path, force: bool) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let file = new_file(directory)?;
    let file = transfer::write_all(lease, file).await?;
    let persisted = if force {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    persisted.map(drop).map_err(|error| error.error)
}

/// With the permissions that any new file gets.
fn new_file(directory: &Path) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::Permissions::from_mode(0o666);
    tempfile::Builder::new()
        .prefix(".payloadctl-")
        .permissions(permissions)
        .tempfile_in(directory)
}
