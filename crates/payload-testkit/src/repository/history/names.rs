//! Names and namespaces in random histories.

use payload_core::{
    Actor, Change, NameChange, NameGuard, Namespace, NamespaceRecord, Naming, PayloadId, Quota, Version,
};

use super::History;
use crate::repository::names::label;
use crate::repository::namespaces::namespace;
use crate::repository::sample::at;

impl History<'_> {
    /// Made, changed or removed, mostly from the version that it has.
    pub(super) fn change_namespace(&mut self) {
        let name = self.namespace();
        let known = self.same("namespace", |repo| Ok(repo.namespace(&name)?.map(|row| row.version)));
        let version = match self.maker.rng.below(4) {
            0 => Version::from_u64(1 + self.maker.rng.below(4)),
            _ => known.unwrap_or(Version::FIRST),
        };
        let made = namespace(name.as_str());
        let changed = NamespaceRecord {
            version: version.next(),
            quota: Quota {
                bytes: self.maker.rng.one_in(2).then(|| self.maker.rng.bits() >> 1),
                payloads: None,
            },
            ..made.clone()
        };
        let what = self.maker.rng.below(3);
        let _refused_or_not = self.alike("change a namespace", |repo| match what {
            0 => repo.create_namespace(&made),
            1 => repo.update_namespace(&changed),
            _ => repo.remove_namespace(&name, version),
        });
        self.same("namespaces", |repo| {
            let rows = repo.namespaces(None, u32::MAX)?;
            // The one that is always there is as old as its catalog.
            Ok(rows
                .into_iter()
                .filter(|row| row.name != Namespace::default())
                .collect::<Vec<_>>())
        });
    }

    /// Mostly none; else of few names, so that they are moved often, and to what was just made or was there before.
    pub(super) fn naming(&mut self, changes: &[Change]) -> Option<NameChange> {
        if !self.maker.rng.one_in(4) {
            return None;
        }
        let namespace = self.namespace();
        let made = changes.iter().map(|change| change.after.id);
        let known = self.versions.iter().rev().take(20).map(|row| row.id);
        let ids: Vec<PayloadId> = made.chain(known).collect();
        let now = self.now;
        let rng = &mut self.maker.rng;
        Some(NameChange {
            namespace,
            naming: Naming {
                name: label(rng.pick::<&str>(&["n", "n/a", "m"])),
                guard: match rng.below(3) {
                    0 => NameGuard::Free,
                    1 => NameGuard::PointsAt(*rng.pick(&ids)),
                    _ => NameGuard::Any,
                },
            },
            to: (!rng.one_in(4)).then(|| *rng.pick(&ids)),
            actor: Actor::from_stored("uid:7"),
            reason: rng.one_in(2).then(|| "ü".into()),
            at: at(now),
        })
    }

    pub(super) fn read_name(&self, change: &NameChange) {
        let (namespace, name) = (&change.namespace, &change.naming.name);
        self.same("name", |repo| repo.name(namespace, name));
        self.same("name_history", |repo| repo.name_history(namespace, name, None, 3));
        self.same("names", |repo| repo.names(namespace, "n", None, 10));
        if let Some(payload) = change.to {
            self.same("names_of", |repo| repo.names_of(payload));
        }
    }
}
