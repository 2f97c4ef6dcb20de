//! Compiles the protos without protoc, and keeps their descriptors for gRPC reflection.

use std::path::PathBuf;

use prost::Message;

const PROTOS: [&str; 12] = [
    "payload",
    "holder",
    "placement",
    "namespace",
    "naming",
    "metadata",
    "event",
    "data_service",
    "catalog_service",
    "admin_service",
    "stream_service",
    "local",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files: Vec<String> = PROTOS.iter().map(|name| format!("payload/v1/{name}.proto")).collect();
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(&files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".payload.v1.PutRequest.content")
        .bytes(".payload.v1.Lease.content")
        .bytes(".payload.v1.Document.body")
        .bytes(".payload.v1.GetMetadataResponse.body")
        .bytes(".payload.v1.PutMetadataRequest.merge_patch")
        .compile_fds(descriptors)?;
    Ok(())
}
