//! The metrics of one VM: counters are added up here and written to the host on a tick.
//!
//! In: [`Count`]s. Out: the host's counters and gauges. Not here: when to write (`root`).
//!
//! A call makes some five counts. Written at once, each would cost a host call and a look-up by a
//! name that is put together anew each time. Gauges are rare, and written at once all the same:
//! workers write the same gauge, and a value kept back could replace a later one.

use std::collections::HashMap;
use std::rc::Rc;

use super::functions::Functions;
use crate::metrics::{Count, Kind, Labels};
use crate::units::Span;

/// The longest time for which counts are kept back. A trap of the VM loses them.
const WRITE_EVERY: Span = Span::from_millis(50);

/// The most series of one VM, because Envoy keeps each of them for ever. Beyond it increments are
/// lost.
const MOST_SERIES: usize = 5_000;

/// The number of counts whose series is known without their names, as a power of two.
const RECENT_BITS: u32 = 8;

/// The metrics of one VM.
pub(super) struct Counts {
    host: Rc<dyn Functions>,
    series: Vec<Series>,
    /// Positions in `series`, by the host's names.
    by_name: HashMap<String, usize>,
    /// Counts of late, each at its place by [`place`].
    recent: [Option<Recent>; 1 << RECENT_BITS],
    /// Positions in `series` of counters that are to be written.
    changed: Vec<usize>,
    name: String,
}

/// One metric with one set of labels.
struct Series {
    /// The host's number.
    id: u32,
    /// The amount to add to a counter.
    unwritten: u64,
}

/// A count and its series. It owns its labels, so that their addresses are not used again.
struct Recent {
    of: Count,
    series: usize,
}

impl Counts {
    pub(super) fn new(host: Rc<dyn Functions>) -> Self {
        Self {
            host,
            series: Vec::new(),
            by_name: HashMap::new(),
            recent: [const { None }; 1 << RECENT_BITS],
            changed: Vec::new(),
            name: String::new(),
        }
    }

    /// Adds to a counter, or sets a gauge.
    pub(super) fn add(&mut self, count: &Count) {
        let Some(position) = self.find(count) else { return };
        let Some(series) = self.series.get_mut(position) else { return };
        match count.metric.kind {
            Kind::Gauge => self.host.record_metric(series.id, count.by),
            Kind::Counter => {
                if series.unwritten == 0 && count.by > 0 {
                    self.changed.push(position);
                }
                series.unwritten = series.unwritten.saturating_add(count.by);
            }
        }
    }

    /// Returns the time within which counts must be written, if there are any.
    pub(super) fn due(&self) -> Option<Span> {
        (!self.changed.is_empty()).then_some(WRITE_EVERY)
    }

    /// Writes to the host what was counted since the last time.
    pub(super) fn write(&mut self) {
        for position in self.changed.drain(..) {
            if let Some(series) = self.series.get_mut(position) {
                self.host.increment_metric(series.id, core::mem::take(&mut series.unwritten));
            }
        }
    }

    /// Returns the position of a count's series, if there is one.
    fn find(&mut self, count: &Count) -> Option<usize> {
        let place = self.recent.get_mut(place(count))?;
        if let Some(Recent { of, series }) = place
            && is_same(of, count)
        {
            return Some(*series);
        }
        count.write_name(&mut self.name);
        let series = match self.by_name.get(self.name.as_str()) {
            Some(known) => *known,
            None if self.series.len() >= MOST_SERIES => return None,
            None => {
                let id = self.host.define_metric(count.metric.kind, &self.name)?;
                let position = self.series.len();
                self.series.push(Series { id, unwritten: 0 });
                self.by_name.insert(self.name.clone(), position);
                position
            }
        };
        *place = Some(Recent { of: count.clone(), series });
        Some(series)
    }
}

/// Returns whether two counts are of one metric and share their labels in memory. Counts of one
/// series may differ in that.
fn is_same(one: &Count, other: &Count) -> bool {
    core::ptr::eq(one.metric, other.metric)
        // An empty text may be anywhere, so its length counts too.
        && core::ptr::eq(one.labels.kind, other.labels.kind)
        && shared_labels(&one.labels) == shared_labels(&other.labels)
}

/// Returns a place in [`Counts::recent`], by multiplicative hashing (Knuth, volume 3, section 6.4).
fn place(Count { metric, labels, .. }: &Count) -> usize {
    const GOLDEN: u32 = 0x9E37_79B1;
    let [tier, limit, model] = shared_labels(labels);
    let addresses = [core::ptr::from_ref(*metric).addr(), labels.kind.as_ptr().addr(), tier, limit, model];
    let mixed =
        addresses.into_iter().fold(0, |mixed: u32, address| (mixed ^ address as u32).wrapping_mul(GOLDEN));
    // The high bits depend on all bits of the addresses.
    mixed.wrapping_shr(u32::BITS.wrapping_sub(RECENT_BITS)) as usize
}

/// Returns where the texts of the shared labels are in memory, 0 for an absent one.
fn shared_labels(Labels { tier, limit, model, kind: _ }: &Labels) -> [usize; 3] {
    [tier, limit, model].map(|label| label.as_ref().map_or(0, |text| text.as_ptr().addr()))
}

#[cfg(test)]
#[path = "counts_tests.rs"]
mod tests;
