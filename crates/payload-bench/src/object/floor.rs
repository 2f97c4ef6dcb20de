//! The least that a bucket asks for so many bytes: the S3 library alone, with the best of several settings.

use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use tokio::runtime::Runtime;

use super::weed::Weed;
use crate::clock::Moment;

/// Requests at a time and bytes of a part, of which the best is taken.
const SETTINGS: [(usize, usize); 6] = [
    (2, 16 << 20),
    (4, 16 << 20),
    (8, 16 << 20),
    (4, 8 << 20),
    (8, 8 << 20),
    (16, 8 << 20),
];

/// Which way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Put,
    Get,
}

/// A way with its best settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuned {
    way: Way,
    at_a_time: usize,
    part: usize,
}

/// Objects of one size in a bucket.
pub(crate) struct Floor {
    runtime: Runtime,
    bucket: Arc<AmazonS3>,
    content: PutPayload,
    size: usize,
    count: usize,
}

impl Floor {
    /// Objects of `size` that are `bytes` together.
    pub(crate) fn new(weed: &Weed, size: usize, bytes: u64) -> Result<Self> {
        Ok(Self {
            // As many threads as the adapter has.
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?,
            bucket: Arc::new(weed.client()?),
            content: PutPayload::from(vec![7; size]),
            size,
            count: usize::try_from(bytes).map_or(1, |bytes| (bytes / size).max(1)),
        })
    }

    /// The settings that are fastest at once.
    pub(crate) fn tuned(&self, way: Way) -> Result<Tuned> {
        let mut best = None;
        for (at_a_time, part) in SETTINGS {
            let tuned = Tuned { way, at_a_time, part };
            let rate = self.run(tuned)?;
            if best.is_none_or(|(most, _)| rate > most) {
                best = Some((rate, tuned));
            }
        }
        best.map(|(_, tuned)| tuned).context("there are no settings")
    }

    /// Moves all of it; the bytes in a second.
    pub(crate) fn run(&self, tuned: Tuned) -> Result<f64> {
        let began = Moment::now();
        self.runtime.block_on(async {
            match tuned.way {
                Way::Put => self.put_all(tuned).await,
                Way::Get => self.get_all(tuned).await,
            }
        })?;
        Ok((self.size * self.count) as f64 / began.elapsed().as_secs_f64())
    }

    async fn put_all(&self, tuned: Tuned) -> Result<()> {
        let parts = self.size.div_ceil(tuned.part);
        let puts = stream::iter(0..self.count).map(|number| async move {
            if parts == 1 {
                self.bucket.put(&path(number), self.content.clone()).await?;
                return anyhow::Ok(());
            }
            let mut upload = self.bucket.put_multipart(&path(number)).await?;
            let sending: Vec<_> = (0..parts)
                .map(|part| {
                    let size = tuned.part.min(self.size - part * tuned.part);
                    upload.put_part(PutPayload::from(vec![7; size]))
                })
                .collect();
            futures_util::future::try_join_all(sending).await?;
            upload.complete().await?;
            Ok(())
        });
        puts.buffer_unordered((tuned.at_a_time / parts).max(1))
            .try_collect()
            .await
    }

    async fn get_all(&self, tuned: Tuned) -> Result<()> {
        let ranges = (0..self.count).flat_map(|number| {
            let starts = (0..self.size).step_by(tuned.part);
            starts.map(move |start| (number, start as u64..(start + tuned.part).min(self.size) as u64))
        });
        let gets = stream::iter(ranges).map(|(number, range)| async move {
            self.bucket.get_range(&path(number), range).await?;
            anyhow::Ok(())
        });
        gets.buffer_unordered(tuned.at_a_time).try_collect().await
    }
}

impl Tuned {
    pub(crate) fn name(self) -> String {
        let way = match self.way {
            Way::Put => "PUT",
            Way::Get => "GET",
        };
        format!("{way} of {} MiB, {} at a time", self.part >> 20, self.at_a_time)
    }
}

fn path(number: usize) -> Path {
    Path::from(format!("floor/{number}"))
}
