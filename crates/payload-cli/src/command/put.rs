//! `put`: makes payloads of files, in order, and stops at the first that fails.

use std::path::Path;

use payload_client::{AllocateOptions, Client, CommitOptions, Error, Naming, PutOptions, v1};
use payload_core::limits;

use super::{Server, lineage, metadata};
use crate::args::PutArgs;
use crate::failure::Failure;
use crate::json::{Payload, Payloads};
use crate::output::Output;
use crate::transfer::{self, Input};

pub(super) async fn run(server: &Server, args: PutArgs, output: &Output) -> Result<(), Failure> {
    if args.name.is_some() && args.files.len() > 1 {
        return Err(Failure::usage("put", "a name points at one payload; name one file"));
    }
    let along = Along {
        lineage: lineage::derivation(&args.derivation)?,
        metadata: metadata::document(&args.metadata)?,
    };
    let client = server.client().await?;
    let mut payloads = Vec::with_capacity(args.files.len());
    let mut result = Ok(());
    for file in &args.files {
        match put(&client, file, &args, &along).await {
            Ok(payload) => payloads.push(Payload::from(payload)),
            Err(failure) => {
                result = Err(failure);
                break;
            }
        }
    }
    // Whoever put ten files and failed at the ninth needs the names of eight.
    if result.is_ok() || !payloads.is_empty() {
        let document = Payloads { payloads };
        output.print(&document, |_| ids(&document.payloads))?;
    }
    result
}

/// One id a line, for the shell to work on with.
fn ids(payloads: &[Payload]) -> String {
    let ids: Vec<&str> = payloads.iter().map(|payload| payload.payload_id.as_str()).collect();
    ids.join("\n")
}

/// What is to be true together with each payload.
struct Along {
    lineage: Option<v1::Derivation>,
    metadata: Option<v1::Document>,
}

async fn put(client: &Client, path: &Path, args: &PutArgs, along: &Along) -> Result<v1::Payload, Failure> {
    let mut input = Input::open(path).await?;
    let failed = |error: &Error| Failure::new(format!("put {}", path.display()), error);
    if input.size <= limits::INLINE_SIZE_MAX {
        let mut bytes = Vec::new();
        input
            .read(&mut bytes)
            .map_err(|error| Failure::io(format!("read {}", path.display()), &error))?;
        let options = PutOptions {
            tier: args.tier,
            fallback: args.fallback,
            durability: args.durability,
            policy: args.policy(),
            ttl: args.ttl,
            labels: args.labels.clone(),
            naming: naming(args),
            lineage: along.lineage.clone(),
            metadata: along.metadata.clone(),
            publish: args.publication(),
            ..PutOptions::default()
        };
        return client.put(&bytes, options).await.map_err(|error| failed(&error));
    }
    let options = AllocateOptions {
        tier: args.tier,
        fallback: args.fallback,
        durability: args.durability,
        policy: args.policy(),
        ttl: args.ttl,
        labels: args.labels.clone(),
        timeout: None,
    };
    let mut writer = client
        .allocate(input.size, options)
        .await
        .map_err(|error| failed(&error))?;
    let bar = transfer::bar(input.size);
    let mut piece = Vec::with_capacity(transfer::PIECE);
    loop {
        input
            .read(&mut piece)
            .map_err(|error| Failure::io(format!("read {}", path.display()), &error))?;
        if piece.is_empty() {
            break;
        }
        writer.write(&piece).map_err(|error| failed(&error))?;
        bar.inc(piece.len() as u64);
        // A turn for the interrupt.
        tokio::task::yield_now().await;
    }
    bar.finish_and_clear();
    // A file that shrank while it was read makes a smaller payload.
    let size = writer.position();
    let options = CommitOptions {
        size: Some(size),
        naming: naming(args),
        lineage: along.lineage.clone(),
        metadata: along.metadata.clone(),
        publish: args.publication(),
        ..CommitOptions::default()
    };
    writer.commit(options).await.map_err(|error| failed(&error))
}

fn naming(args: &PutArgs) -> Option<Naming> {
    args.name.clone().map(|name| Naming {
        name,
        guard: args.guard.guard(),
    })
}
