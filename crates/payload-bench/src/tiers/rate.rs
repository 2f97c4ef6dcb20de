//! Bytes in a second, next to the floor's: what counts where it is not the single call that somebody waits for.

use comfy_table::Table;
use serde::Serialize;

use crate::measure::median;
use crate::report::{align, new_table};

/// The floor and the server, measured in turn.
#[derive(Debug)]
pub(crate) struct Case {
    name: &'static str,
    floor_name: String,
    floor: Vec<f64>,
    server: Vec<f64>,
}

/// What all rounds of one subject amount to; medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Rate {
    case: String,
    subject: String,
    mib_per_second: f64,
    spread: (f64, f64),
    /// Of the floor's rate.
    ratio: f64,
}

impl Case {
    pub(crate) fn new(name: &'static str, floor_name: String) -> Self {
        Self {
            name,
            floor_name,
            floor: Vec::new(),
            server: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// A round: bytes in a second of the floor, and of the server.
    pub(crate) fn add(&mut self, floor: f64, server: f64) {
        self.floor.push(floor);
        self.server.push(server);
    }

    pub(crate) fn rates(self) -> [Rate; 2] {
        let least = median(self.floor.clone());
        let rate = |subject: String, rounds: Vec<f64>| {
            let mib = |bytes: f64| bytes / f64::from(1 << 20);
            let lowest = rounds.iter().copied().fold(f64::INFINITY, f64::min);
            let highest = rounds.iter().copied().fold(0.0, f64::max);
            let middle = median(rounds);
            Rate {
                case: self.name.to_owned(),
                subject,
                mib_per_second: mib(middle),
                spread: (mib(lowest), mib(highest)),
                ratio: middle / least,
            }
        };
        [
            rate(self.floor_name, self.floor),
            rate("server".to_owned(), self.server),
        ]
    }
}

/// One block for each case.
pub(crate) fn table(rates: &Vec<Rate>) -> Table {
    let mut table = new_table(&["", "", "MiB/s", "spread", "× floor"]);
    let mut case = "";
    for rate in rates {
        let is_new = rate.case != case;
        case = &rate.case;
        table.add_row([
            if is_new { rate.case.clone() } else { String::new() },
            rate.subject.clone(),
            format!("{:.0}", rate.mib_per_second),
            format!("{:.0}–{:.0}", rate.spread.0, rate.spread.1),
            format!("{:.2}", rate.ratio),
        ]);
    }
    align(&mut table, 2);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_share_of_the_floors_in_the_same_rounds() {
        let mut case = Case::new("case", "floor".to_owned());
        for mib in [100, 300, 200] {
            let rate = f64::from(mib << 20);
            case.add(rate, rate / 2.0);
        }
        let [floor, server] = case.rates();
        assert_eq!((floor.mib_per_second, floor.ratio), (200.0, 1.0));
        assert_eq!((server.mib_per_second, server.ratio), (100.0, 0.5));
        assert_eq!(server.spread, (50.0, 150.0));
    }
}
