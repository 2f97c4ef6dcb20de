//! The choice of what goes first, among a thousand and among many, and what the index of them takes up.

use anyhow::Result;
use payload_core::PayloadId;
use payload_core::tiering::{Look, Victims};

use crate::clock::Moment;
use crate::machine::kib_of;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::Settings;
use crate::rows::id;

const FEW: u64 = 1_000;

pub(crate) fn measure(settings: &Settings, many: u64) -> Result<Vec<Figure>> {
    let anonymous = || kib_of("/proc/self/status", "RssAnon").unwrap_or_default();
    let before = anonymous();
    let (mut few, mut large) = (filled(FEW), filled(many));
    let grown = anonymous() - before;
    let operations = settings.operations as u64;
    let subjects = vec![
        Subject::new(&format!("of {FEW}"), move || choose(&mut few, FEW, operations)),
        Subject::new(&format!("of {many}"), move || choose(&mut large, many, operations)),
    ];
    let case = format!("victim, {:.0} bytes an entry", grown * 1024.0 / (many + FEW) as f64);
    compare(&case, settings.rounds, subjects)
}

fn filled(count: u64) -> Victims<PayloadId> {
    let mut victims = Victims::default();
    (0..count).for_each(|number| victims.insert(id(number), 4_096));
    victims
}

/// Chooses one after the other; each comes back as new. One in eight was used.
fn choose(victims: &mut Victims<PayloadId>, count: u64, operations: u64) -> Result<Round> {
    Round::of(None, || {
        (0..operations)
            .map(|number| {
                let mut looked = number;
                let began = Moment::now();
                let picked = victims.pick(|_| {
                    looked += 1;
                    Look::Free {
                        uses: u8::from(looked % 8 == 0),
                    }
                });
                let (victim, charged) = picked.unwrap_or((id(number % count), 4_096));
                victims.insert(victim, charged);
                Ok(began.elapsed())
            })
            .collect()
    })
}
