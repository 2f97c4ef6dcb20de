//! A tier store whose calls are counted and may fail.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use payload_core::port::{
    Claim, Left, Placed, Receiver, Sealed, Sender, SignedRead, SignedRequest, Source, TierStore, TierUsage,
};
use payload_core::{Container, Digest, Error, Location, Namespace, Reason, Result, SessionId, Span, Tier};

use super::Switch;

/// Around any tier store.
pub struct FaultyTier {
    inner: Arc<dyn TierStore>,
    switch: Arc<Switch>,
}

impl FaultyTier {
    /// Lets calls through as the switch says.
    pub const fn new(inner: Arc<dyn TierStore>, switch: Arc<Switch>) -> Self {
        Self { inner, switch }
    }

    /// Refuses what the machine cannot give, like a store that looks at a real one.
    fn require(&self, size: u64) -> Result<()> {
        let used = self.inner.usage().used;
        match self.switch.attainable(self.inner.tier()) {
            Some(attainable) if used.saturating_add(size) > attainable => Err(Error::new(
                Reason::MemoryShort,
                format!("the machine can give {attainable} bytes, {used} are used, and {size} are asked for"),
            )),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for FaultyTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FaultyTier({})", self.tier())
    }
}

impl TierStore for FaultyTier {
    fn tier(&self) -> Tier {
        self.inner.tier()
    }

    fn reserve(&self, namespace: &Namespace, size: u64, producer: Option<SessionId>) -> Result<Placed> {
        self.require(size)?;
        self.switch
            .run("tier.reserve", || self.inner.reserve(namespace, size, producer))
    }

    fn writer(&self, location: &Location) -> Result<OwnedFd> {
        self.switch.run("tier.writer", || self.inner.writer(location))
    }

    fn seal(&self, namespace: &Namespace, location: &Location, size: u64) -> Result<Sealed> {
        self.switch
            .run("tier.seal", || self.inner.seal(namespace, location, size))
    }

    fn forget_producer(&self, producer: SessionId) {
        self.inner.forget_producer(producer);
    }

    fn store(&self, namespace: &Namespace, bytes: &[u8]) -> Result<Placed> {
        self.require(bytes.len() as u64)?;
        self.switch.run("tier.store", || self.inner.store(namespace, bytes))
    }

    fn store_carried(&self, namespace: &Namespace, bytes: &[u8]) -> Result<Placed> {
        self.require(bytes.len() as u64)?;
        self.switch
            .run("tier.store_carried", || self.inner.store_carried(namespace, bytes))
    }

    fn settle(&self) -> Result<()> {
        self.switch.run("tier.settle", || self.inner.settle())
    }

    fn store_all(&self, namespace: &Namespace, payloads: &[&[u8]]) -> Vec<Result<Placed>> {
        let stored = self
            .switch
            .run("tier.store_all", || Ok(self.inner.store_all(namespace, payloads)));
        stored.unwrap_or_else(|error| {
            let again = || Err(Error::new(error.reason(), error.message().to_owned()));
            payloads.iter().map(|_| again()).collect()
        })
    }

    fn copy_in(&self, namespace: &Namespace, source: Source<'_>) -> Result<(Placed, Digest)> {
        self.switch
            .run("tier.copy_in", || self.inner.copy_in(namespace, source))
    }

    fn receive(&self, namespace: &Namespace, size: u64, from: Sender<'_>) -> Result<(Placed, Digest)> {
        self.switch
            .run("tier.receive", || self.inner.receive(namespace, size, from))
    }

    fn send(&self, location: &Location, size: u64, to: Receiver<'_>) -> Result<()> {
        self.switch.run("tier.send", || self.inner.send(location, size, to))
    }

    fn check(&self, location: &Location, size: u64) -> Result<()> {
        self.switch.run("tier.check", || self.inner.check(location, size))
    }

    fn read(&self, location: &Location, size: u64, out: &mut Vec<u8>) -> Result<()> {
        self.switch.run("tier.read", || self.inner.read(location, size, out))
    }

    fn read_all(&self, wanted: &[(Location, u64)]) -> Vec<Result<Vec<u8>>> {
        self.switch.count("tier.read_all");
        self.inner.read_all(wanted)
    }

    fn digest(&self, location: &Location, size: u64) -> Result<Digest> {
        self.switch.run("tier.digest", || self.inner.digest(location, size))
    }

    fn open(&self, location: &Location) -> Result<OwnedFd> {
        self.switch.run("tier.open", || self.inner.open(location))
    }

    fn memory_node(&self, location: &Location) -> Option<u32> {
        self.inner.memory_node(location)
    }

    fn remove(&self, location: &Location, charged: u64) -> Result<()> {
        self.switch.run("tier.remove", || self.inner.remove(location, charged))
    }

    fn sweepable(&self) -> Result<Vec<Container>> {
        self.switch.run("tier.sweepable", || self.inner.sweepable())
    }

    fn hollow(&self, share: u8, count: &dyn Fn(Container) -> Result<u64>) -> Result<Vec<Container>> {
        self.switch.run("tier.hollow", || self.inner.hollow(share, count))
    }

    fn suspect(&self, container: Container, left: Left) -> Result<Claim> {
        self.switch.run("tier.suspect", || self.inner.suspect(container, left))
    }

    fn trust(&self, container: Container) -> Result<()> {
        self.switch.run("tier.trust", || self.inner.trust(container))
    }

    fn sign_read(&self, location: &Location, size: u64, valid: Span) -> Result<SignedRead> {
        self.switch
            .run("tier.sign_read", || self.inner.sign_read(location, size, valid))
    }

    fn sign_write(&self, location: &Location, size: u64, valid: Span) -> Result<SignedRequest> {
        self.switch
            .run("tier.sign_write", || self.inner.sign_write(location, size, valid))
    }

    fn drop_container(&self, container: Container) -> Result<()> {
        self.switch
            .run("tier.drop_container", || self.inner.drop_container(container))
    }

    fn prepare(&self) -> Result<bool> {
        self.switch.run("tier.prepare", || self.inner.prepare())
    }

    fn was_drawn_on(&self) -> bool {
        self.inner.was_drawn_on()
    }

    fn attainable(&self) -> Option<u64> {
        self.switch.attainable(self.tier())
    }

    fn usage(&self) -> TierUsage {
        self.inner.usage()
    }
}
