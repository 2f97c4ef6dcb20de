//! `leases` and `revoke`: who holds what, and ending it.

use payload_client::PayloadId;
use payload_core::limits;

use super::Server;
use crate::failure::Failure;
use crate::human;
use crate::json::{Lease, Leases, Revoked};
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
    output.print(&document, |output| {
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
        output.table(header, document.leases.iter().map(row))
    })
}

pub(super) async fn revoke(server: &Server, serial: u64, reason: &str, output: &Output) -> Result<(), Failure> {
    let revoked = server.admin().revoke(serial, reason).await;
    revoked.map_err(|error| Failure::new(format!("revoke {serial}"), &error))?;
    output.print(&Revoked { lease_serial: serial }, |_| format!("{serial}  revoked"))
}

fn row(lease: &Lease) -> [String; 8] {
    let holder = &lease.holder;
    let pid = if holder.pid == 0 {
        "-".to_owned()
    } else {
        holder.pid.to_string()
    };
    let expires = lease.expires_in_ms.map_or_else(|| "-".to_owned(), human::span);
    [
        lease.lease_serial.to_string(),
        lease.payload_id.clone(),
        holder.principal.clone(),
        holder.kind.clone(),
        pid,
        holder.command.clone(),
        human::span(lease.age_ms),
        expires,
    ]
}
