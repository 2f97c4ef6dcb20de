//! Measurements in rounds: every subject in turn, again and again, so that a noisy machine is as unfair to each.

use anyhow::{Context, Result};
use payload_core::Span;
use serde::Serialize;

use crate::clock::{Moment, cpu_of, own_cpu};

/// What one subject did in one round.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Of each operation, from its first message to its answer.
    pub(crate) latencies: Vec<Span>,
    pub(crate) elapsed: Span,
    pub(crate) own_cpu: Span,
    pub(crate) peer_cpu: Span,
    /// Commits that the server acknowledged and syncs of its catalog, where they are counted.
    pub(crate) commits: f64,
    pub(crate) syncs: f64,
}

impl Round {
    /// Measures what `work` does together with the process `peer`.
    pub(crate) fn of(peer: Option<u32>, work: impl FnOnce() -> Result<Vec<Span>>) -> Result<Self> {
        let peer_cpu = || peer.map_or(Span::ZERO, cpu_of);
        let (own_before, peer_before, began) = (own_cpu(), peer_cpu(), Moment::now());
        let latencies = work()?;
        Ok(Self {
            latencies,
            elapsed: began.elapsed(),
            own_cpu: own_cpu().saturating_sub(own_before),
            peer_cpu: peer_cpu().saturating_sub(peer_before),
            ..Self::default()
        })
    }
}

/// Something that can be measured.
pub(crate) struct Subject<'a> {
    pub(crate) name: String,
    pub(crate) run: Box<dyn FnMut() -> Result<Round> + 'a>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(name: &str, run: impl FnMut() -> Result<Round> + 'a) -> Self {
        Self {
            name: name.to_owned(),
            run: Box::new(run),
        }
    }
}

/// What all rounds of one subject amount to. Times are microseconds, and medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) case: String,
    pub(crate) subject: String,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// The smallest and the largest median of a round.
    pub(crate) spread_us: (f64, f64),
    pub(crate) per_second: f64,
    /// CPU per operation: of the process that asks, and of the one that answers.
    pub(crate) own_cpu_us: f64,
    pub(crate) peer_cpu_us: f64,
    /// p50 over the floor's p50, the case's first subject.
    pub(crate) ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commits_per_sync: Option<f64>,
}

/// Runs all subjects of a case alternately; the first one is the floor.
pub(crate) fn compare(case: &str, rounds: usize, mut subjects: Vec<Subject<'_>>) -> Result<Vec<Figure>> {
    let mut results: Vec<Vec<Round>> = subjects.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (subject, results) in subjects.iter_mut().zip(&mut results) {
            let round = (subject.run)().with_context(|| format!("{case}: {}", subject.name))?;
            results.push(round);
        }
    }
    let mut figures: Vec<Figure> = Vec::new();
    for (subject, rounds) in subjects.iter().zip(results) {
        let mut figure = figure(case, &subject.name, rounds);
        figure.ratio = figure.p50_us / figures.first().map_or(figure.p50_us, |floor| floor.p50_us);
        figures.push(figure);
    }
    Ok(figures)
}

fn figure(case: &str, subject: &str, rounds: Vec<Round>) -> Figure {
    let (mut p50, mut p99, mut rate, mut own, mut peer) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut commits, mut syncs) = (0.0, 0.0);
    for mut round in rounds {
        let count = round.latencies.len().max(1) as f64;
        round.latencies.sort_unstable();
        p50.push(micros(quantile(&round.latencies, 0.5)));
        p99.push(micros(quantile(&round.latencies, 0.99)));
        rate.push(count / round.elapsed.as_secs_f64());
        own.push(micros(round.own_cpu) / count);
        peer.push(micros(round.peer_cpu) / count);
        commits += round.commits;
        syncs += round.syncs;
    }
    let spread = (
        p50.iter().copied().fold(f64::INFINITY, f64::min),
        p50.iter().copied().fold(0.0, f64::max),
    );
    Figure {
        case: case.to_owned(),
        subject: subject.to_owned(),
        p50_us: median(p50),
        p99_us: median(p99),
        spread_us: spread,
        per_second: median(rate),
        own_cpu_us: median(own),
        peer_cpu_us: median(peer),
        ratio: 1.0,
        commits_per_sync: (syncs > 0.0).then(|| commits / syncs),
    }
}

/// The middle one, or the mean of the middle two.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(numbers[middle - 1], numbers[middle]),
        _ => numbers[middle],
    }
}

/// Of sorted values, by nearest rank.
pub(crate) fn quantile(sorted: &[Span], share: f64) -> Span {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn micros(span: Span) -> f64 {
    span.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles_are_ranks() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        let sorted: Vec<Span> = (1..=100).map(Span::from_micros).collect();
        assert_eq!(quantile(&sorted, 0.5), Span::from_micros(50));
        assert_eq!(quantile(&sorted, 0.99), Span::from_micros(99));
        assert_eq!(quantile(&sorted[..1], 0.99), Span::from_micros(1));
        assert_eq!(quantile(&[], 0.5), Span::ZERO);
    }

    #[test]
    fn subjects_take_turns_and_the_first_is_the_floor() {
        let order = std::cell::RefCell::new(Vec::new());
        let subject = |name: &'static str, micros: u64| {
            let order = &order;
            Subject::new(name, move || {
                order.borrow_mut().push(name);
                let latencies = vec![Span::from_micros(micros); 3];
                Ok(Round {
                    latencies,
                    elapsed: Span::from_millis(1),
                    ..Round::default()
                })
            })
        };
        let figures = compare("case", 2, vec![subject("floor", 10), subject("server", 15)]).unwrap();
        assert_eq!(*order.borrow(), ["floor", "server", "floor", "server"]);
        assert_eq!((figures[0].ratio, figures[1].ratio), (1.0, 1.5));
        assert_eq!(figures[1].per_second, 3_000.0);
    }
}
