//! One process writes the files of a directory into a server.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use payload_client::{AllocateOptions, Client, CommitOptions, DigestChoice, Endpoint, PutOptions};
use payload_core::{Span, limits};
use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::crew::runtime;

/// What was published, in the order of its paths.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Manifest {
    pub(super) files: Vec<Published>,
    pub(super) took: Span,
}

/// One file and its payload.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Published {
    pub(super) path: PathBuf,
    pub(super) payload_id: String,
    pub(super) size: u64,
}

/// Publishes and prints the manifest.
pub(crate) fn run(directory: &Path, endpoint: Option<&str>) -> Result<()> {
    let paths = files(directory)?;
    let manifest = runtime()?.block_on(async {
        let client = Client::connect(Endpoint::discover(endpoint)?).await?;
        let began = Moment::now();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let published = publish(&client, directory, path);
            files.push(published.await?);
        }
        anyhow::Ok(Manifest {
            files,
            took: began.elapsed(),
        })
    })?;
    println!("{}", serde_json::to_string(&manifest)?);
    Ok(())
}

async fn publish(client: &Client, directory: &Path, path: PathBuf) -> Result<Published> {
    let mut file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let size = file.metadata()?.len();
    let name = path.strip_prefix(directory).unwrap_or(&path).display().to_string();
    let labels = vec![("file".to_owned(), shortened(&name))];
    let payload = if size <= limits::INLINE_SIZE_MAX {
        let mut bytes = Vec::with_capacity(usize::try_from(size)?);
        file.read_to_end(&mut bytes)?;
        let options = PutOptions {
            labels,
            ..PutOptions::default()
        };
        client.put(&bytes, options).await
    } else {
        let options = AllocateOptions {
            labels,
            ..AllocateOptions::default()
        };
        let mut writer = client.allocate(size, options).await?;
        // From the file to where the bytes stay, with nothing in between.
        file.read_exact(writer.as_mut_slice()?)?;
        let options = CommitOptions {
            size: None,
            digest: DigestChoice::Compute,
            ..CommitOptions::default()
        };
        writer.commit(options).await
    };
    let payload = payload.with_context(|| format!("cannot publish {}", path.display()))?;
    Ok(Published {
        path,
        payload_id: payload.payload_id,
        size: payload.size,
    })
}

/// All files below a directory, in order; build output, version control and links left out.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))? {
            let entry = entry?;
            let (kind, name) = (entry.file_type()?, entry.file_name());
            if kind.is_dir() && name != "target" && name != ".git" {
                directories.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The end of a name that is too long for a label.
fn shortened(name: &str) -> String {
    let excess = name.len().saturating_sub(limits::LABEL_VALUE_LEN_MAX);
    let start = (excess..name.len()).find(|start| name.is_char_boundary(*start));
    name[start.unwrap_or(0)..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_below_directories_except_build_output() {
        let root = tempfile::tempdir().unwrap();
        for path in ["b", "a/c", "target/x", ".git/y"] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        assert_eq!(
            files(root.path()).unwrap(),
            [root.path().join("a/c"), root.path().join("b")]
        );
    }

    #[test]
    fn a_long_name_keeps_its_end_and_its_characters() {
        assert_eq!(shortened("short"), "short");
        let long = shortened(&"ä".repeat(200));
        assert_eq!(long.len(), 254);
        assert!(long.chars().all(|c| c == 'ä'));
    }
}
