//! The sides of a comparison, each of several Envoys, and tables of what was measured.
//!
//! In: bootstraps by name, and a function that measures one Envoy. Out, to standard output: rows in
//! Markdown with medians and quartiles, of each side and of the ratios between sides. Envoys of the
//! same build differ by some percent for the whole of their lives, because their code and memory
//! lie elsewhere. A side therefore has several, and a ratio is taken for each pair of them within a
//! round. Not here: what is measured.

use tokio::runtime::Runtime;
use tollgate_rig::envoy::{Bootstrap, Envoy};

/// The number of Envoys on a side.
const INSTANCES: usize = 2;
/// Rounds of each measurement.
const ROUNDS: usize = 7;

/// Envoys with the same build and configuration.
pub(crate) struct Side {
    name: &'static str,
    envoys: Vec<Envoy>,
}

/// What was measured in one round, by side and instance.
pub(crate) type Round<const N: usize> = Vec<Vec<[f64; N]>>;

impl Side {
    /// Starts the Envoys of several sides: one of each side, and then the next of each.
    pub(crate) fn start(runtime: &Runtime, bootstraps: Vec<(&'static str, Bootstrap)>) -> Vec<Self> {
        let start = |(_, bootstrap): &(_, Bootstrap)| runtime.spawn(Envoy::start(bootstrap.clone()));
        let starting: Vec<Vec<_>> = (0..INSTANCES).map(|_| bootstraps.iter().map(start).collect()).collect();
        let mut sides: Vec<_> =
            bootstraps.into_iter().map(|(name, _)| Self { name, envoys: Vec::new() }).collect();
        for started in starting {
            for (side, envoy) in sides.iter_mut().zip(started) {
                side.envoys.push(runtime.block_on(envoy).expect("Envoy starts"));
            }
        }
        sides
    }

    /// Returns the Envoys.
    pub(crate) fn envoys(&self) -> &[Envoy] {
        &self.envoys
    }
}

/// Measures all Envoys in turns, the sides one after the other. Odd rounds go backwards, so that no
/// side is favoured.
pub(crate) fn round<const N: usize>(
    number: usize,
    sides: &[&Side],
    measure: &mut impl FnMut(&Envoy) -> [f64; N],
) -> Round<N> {
    let of_each = |instance| (0..sides.len()).map(move |side| (side, instance));
    let mut turns: Vec<_> = (0..INSTANCES).flat_map(of_each).collect();
    if !number.is_multiple_of(2) {
        turns.reverse();
    }
    let mut measured = vec![vec![[f64::NAN; N]; INSTANCES]; sides.len()];
    for (side, instance) in turns {
        measured[side][instance] = measure(&sides[side].envoys[instance]);
    }
    measured
}

/// Measures several rounds. Discards a first one, in which caches fill.
pub(crate) fn rounds<const N: usize>(
    sides: &[&Side],
    mut measure: impl FnMut(&Envoy) -> [f64; N],
) -> Vec<Round<N>> {
    (0..=ROUNDS).map(|number| round(number, sides, &mut measure)).skip(1).collect()
}

/// Prints the head of a table.
pub(crate) fn head(title: &str, sides: &[&Side]) {
    let ratios =
        pairs(sides.len()).map(|(later, earlier)| format!("{} / {}", sides[later].name, sides[earlier].name));
    let names: Vec<_> = sides.iter().map(|side| side.name.to_owned()).chain(ratios).collect();
    println!();
    line(title, &names);
    println!("|---|{}", "---:|".repeat(names.len()));
}

/// Prints a row of a table: one of the measured values.
pub(crate) fn row<const N: usize>(name: &str, rounds: &[Round<N>], at: usize, decimals: usize) {
    let sides = rounds.first().map_or(0, Vec::len);
    let of_side = |side: usize| {
        let values = rounds.iter().flat_map(|round| &round[side]).map(|measured| measured[at]);
        spread(values.collect(), decimals)
    };
    let ratio = |(later, earlier): (usize, usize)| {
        let of_round = |round: &Round<N>| -> Vec<f64> {
            let pairs =
                round[later].iter().flat_map(|one| round[earlier].iter().map(move |other| (one, other)));
            pairs.map(|(one, other)| one[at] / other[at]).collect()
        };
        spread(rounds.iter().flat_map(of_round).collect(), 2)
    };
    let cells: Vec<_> = (0..sides).map(of_side).chain(pairs(sides).map(ratio)).collect();
    line(name, &cells);
}

/// Prints a row of text.
pub(crate) fn line(name: &str, cells: &[String]) {
    let cells: String = cells.iter().map(|cell| format!(" {cell:>22} |")).collect();
    println!("| {name:42} |{cells}");
}

/// Returns a quantile of sorted values; between two of them, in proportion.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = sorted.len().saturating_sub(1) as f64 * share;
    let value = |at: f64| sorted.get(at as usize).copied().unwrap_or(f64::NAN);
    let (low, high) = (value(place.floor()), value(place.ceil()));
    low + (high - low) * place.fract()
}

/// Returns the pairs of sides that are compared: each with all before it.
fn pairs(sides: usize) -> impl Iterator<Item = (usize, usize)> {
    (1..sides).flat_map(|later| (0..later).map(move |earlier| (later, earlier)))
}

/// Returns the median of values, and in parentheses their quartiles.
fn spread(mut values: Vec<f64>, decimals: usize) -> String {
    values.sort_by(f64::total_cmp);
    let [low, median, high] = [0.25, 0.5, 0.75].map(|share| quantile(&values, share));
    format!("{median:.decimals$} ({low:.decimals$}–{high:.decimals$})")
}
