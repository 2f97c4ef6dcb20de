//! `quota`: what a namespace has of what it may have, and changing that.

use payload_client::{Admin, Quota, Result};

use super::Server;
use crate::args::QuotaArgs;
use crate::failure::Failure;
use crate::human;
use crate::json::NamespaceQuota;
use crate::output::Output;

pub(super) async fn run(server: &Server, args: QuotaArgs, output: &Output) -> Result<(), Failure> {
    let found = quota(&server.admin(), &args).await;
    let document = found.map_err(|error| Failure::new(format!("quota of {}", args.name), &error))?;
    output.print(&document, |_| text(&document))
}

async fn quota(admin: &Admin, args: &QuotaArgs) -> Result<NamespaceQuota> {
    let (mut namespace, used) = admin.namespace_with_use(&args.name).await?;
    if args.bytes.is_some() || args.payloads.is_some() {
        // On top of what is there now, and nothing newer.
        let now = namespace.quota.unwrap_or_default();
        let quota = Quota {
            bytes: args.bytes.map_or(now.bytes, |bound| bound.0),
            payloads: args.payloads.map_or(now.payloads, |bound| bound.0),
        };
        let version = args.if_version.unwrap_or(namespace.version);
        namespace = admin.update_namespace(&args.name, quota, Some(version)).await?;
    }
    Ok(NamespaceQuota::new(namespace, used))
}

fn text(document: &NamespaceQuota) -> String {
    let (used, quota) = (&document.used, &document.namespace.quota);
    let of = |bound: Option<String>| bound.map_or_else(|| "without a bound".to_owned(), |bound| format!("of {bound}"));
    format!(
        "bytes     {} {}\npayloads  {} {}",
        human::size(used.bytes),
        of(quota.bytes.map(human::size)),
        used.payloads,
        of(quota.payloads.map(|count| count.to_string())),
    )
}
