//! Takes up, after a restart of the server, what this client held before.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use payload_core::{Error, LeaseId, Reason, Result, limits};
use payload_proto::v1;
use payload_proto::v1::client_message::Request;

use crate::grant::{Asked, take_fd};
use crate::intake::Expect;
use crate::link::Link;
use crate::registry::{AllocationRecord, LeaseRecord, Registry, Standing};
use crate::session::Session;

/// Asks a restarted server for everything that an earlier start granted. What it refuses is lost.
pub(crate) async fn run(session: &Session, link: &Link, earlier_session: &str, epoch: u64) -> Result<()> {
    let (leases, allocations) = session.registry.reclaimable(epoch);
    for leases in leases.chunks(limits::BATCH_ITEMS_MAX) {
        ask(session, link, earlier_session, leases, &[]).await?;
    }
    for allocations in allocations.chunks(limits::BATCH_ITEMS_MAX) {
        ask(session, link, earlier_session, &[], allocations).await?;
    }
    Ok(())
}

async fn ask(
    session: &Session,
    link: &Link,
    earlier_session: &str,
    leases: &[Arc<LeaseRecord>],
    allocations: &[Arc<AllocationRecord>],
) -> Result<()> {
    let request = v1::ReclaimRequest {
        session_id: earlier_session.to_owned(),
        namespace: session.namespace(),
        leases: leases.iter().map(|record| record.to_ref()).collect(),
        allocations: allocations
            .iter()
            .map(|record| v1::AllocationRef {
                payload_id: record.payload_id.clone(),
                allocation_token: record.token.clone(),
            })
            .collect(),
    };
    let mut message = v1::ClientMessage {
        correlation_id: 0,
        request: Some(Request::Reclaim(request)),
    };
    let expect = Expect::Reclaim {
        leases: leases.to_vec(),
        allocations: allocations.to_vec(),
    };
    match link.call(session, &mut message, expect).await {
        Ok(Ok(_)) => Ok(()),
        // The grace time is over, or the server does not know the earlier session: nothing of it can be had.
        Ok(Err(_)) => {
            let ids: Vec<LeaseId> = leases.iter().map(|record| record.standing().id).collect();
            session.registry.lose_leases(|standing| ids.contains(&standing.id));
            Ok(())
        }
        Err(_) => Err(Error::new(
            Reason::ConnectionLost,
            "the connection broke again during the reclaim",
        )),
    }
}

/// Takes the answer in. Mappings stay as they are; only names change.
pub(crate) fn take(
    session: &Session,
    asked: Asked,
    leases: &[Arc<LeaseRecord>],
    allocations: &[Arc<AllocationRecord>],
    response: v1::ReclaimResponse,
    fds: &mut [Option<OwnedFd>],
) {
    let mut results = response.leases.into_iter();
    for record in leases {
        let result = results.next().and_then(|result| result.result);
        match result.and_then(|result| regranted(session, asked, result, fds)) {
            Some(standing) => session.registry.reclaimed(record, standing),
            None => {
                let lost = record.standing().id;
                session.registry.lose_leases(|standing| standing.id == lost);
            }
        }
    }
    for (record, result) in allocations.iter().zip(response.allocations) {
        // A refusal changes nothing here: the commit will be told why, or that it has happened already.
        if let Some(v1::reclaimed_allocation::Result::Allocation(_)) = result.result {
            Registry::reclaimed_allocation(record, asked.epoch);
        }
    }
}

fn regranted(
    session: &Session,
    asked: Asked,
    result: v1::acquire_result::Result,
    fds: &mut [Option<OwnedFd>],
) -> Option<Standing> {
    let v1::acquire_result::Result::Lease(lease) = result else {
        return None;
    };
    let id = lease.lease_id.parse().ok()?;
    let location = lease.descriptor.and_then(|descriptor| descriptor.location);
    if let (Ok(Some(fd)), Some(location)) = (take_fd(fds, lease.fd), location) {
        session.cache.keep(&location.container_id, fd);
    }
    Some(Standing::granted(id, asked.epoch, asked.at, lease.expires_in_ms))
}
