//! `leases` and `revoke`: who holds what, and ending it.

use payload_client::PayloadId;
use payload_core::limits;

use super::Server;
use crate::failure::Failure;
use crate::human;
use crate::json::{Holder, Lease, Leases, Revoked};
use crate::output::Output;

pub(super) async fn list(server: &Server, payload: Option<PayloadId>, output: &Output) -> Result<(), Failure> {
    let admin = server.admin();
    let mut leases = Vec::new();
    let mut token = String::new();
    loop {
        let page = admin.leases(payload, limits::PAGE_SIZE_MAX, &token).await;
        let page = page.map_err(|error| Failure::new("list leases", &error))?;
        leases.extend(page.leases.into_iter().map(Lease::from));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let document = Leases { leases };
    output.print(&document, |output| table(&document.leases, output))
}

pub(super) async fn revoke(server: &Server, serial: u64, reason: &str, output: &Output) -> Result<(), Failure> {
    let revoked = server.admin().revoke(serial, reason).await;
    revoked.map_err(|error| Failure::new(format!("revoke {serial}"), &error))?;
    output.print(&Revoked { lease_serial: serial }, |_| format!("{serial}  revoked"))
}

pub(super) fn table(leases: &[Lease], output: &Output) -> String {
    let header = [
        "SERIAL",
        "PAYLOAD",
        "PRINCIPAL",
        "KIND",
        "PID",
        "COMMAND",
        "AGE",
        "EXPIRES",
    ];
    output.table(header, leases.iter().map(row))
}

/// The holder's process, if it is on this host.
pub(super) fn pid(holder: &Holder) -> String {
    match holder.pid {
        0 => "-".to_owned(),
        pid => pid.to_string(),
    }
}

fn row(lease: &Lease) -> [String; 8] {
    let holder = &lease.holder;
    let expires = lease.expires_in_ms.map_or_else(|| "-".to_owned(), human::span);
    [
        lease.lease_serial.to_string(),
        lease.payload_id.clone(),
        holder.principal.clone(),
        holder.kind.clone(),
        pid(holder),
        holder.command.clone(),
        human::span(lease.age_ms),
        expires,
    ]
}
