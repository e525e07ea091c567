//! What the clients of this process have seen.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters, all of which only grow.
#[derive(Default)]
pub struct Tally {
    /// Clients that have come.
    pub came: AtomicU64,
    /// Those of them that got back what they had.
    pub recovered: AtomicU64,
    /// Those that should have.
    pub not_recovered: AtomicU64,
    /// Numbered events that were looked at.
    pub checked: AtomicU64,
    pub lost: AtomicU64,
    pub duplicated: AtomicU64,
    pub reordered: AtomicU64,
    /// Clients that were not treated as they should have been.
    pub failed: AtomicU64,
}

pub static TALLY: Tally = Tally {
    came: AtomicU64::new(0),
    recovered: AtomicU64::new(0),
    not_recovered: AtomicU64::new(0),
    checked: AtomicU64::new(0),
    lost: AtomicU64::new(0),
    duplicated: AtomicU64::new(0),
    reordered: AtomicU64::new(0),
    failed: AtomicU64::new(0),
};

pub fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

/// A [`Tally`] at a moment, or the sum of several.
pub type Sums = [u64; 8];

impl Tally {
    /// In the order of the fields.
    pub fn sums(&self) -> Sums {
        [
            &self.came,
            &self.recovered,
            &self.not_recovered,
            &self.checked,
            &self.lost,
            &self.duplicated,
            &self.reordered,
            &self.failed,
        ]
        .map(|it| it.load(Relaxed))
    }
}

/// Events of one client that are numbered without gaps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequence {
    /// The highest so far. Any number may be the first.
    pub last: Option<u64>,
}

impl Sequence {
    pub fn take(&mut self, number: u64) {
        add(&TALLY.checked, 1);
        match self.last {
            Some(last) if number == last => {
                eprintln!("soak: {number} came twice");
                add(&TALLY.duplicated, 1);
            }
            Some(last) if number < last => {
                eprintln!("soak: {number} came after {last}");
                add(&TALLY.reordered, 1);
            }
            last => {
                self.expect(number.saturating_sub(1).max(last.unwrap_or(0)));
                self.last = Some(number);
            }
        }
    }

    /// All up to this number must have come by now.
    pub fn expect(&mut self, number: u64) {
        if let Some(last) = self.last
            && number > last
        {
            eprintln!("soak: {} to {number} did not come", last + 1);
            add(&TALLY.lost, number - last);
            self.last = Some(number);
        }
    }
}

pub fn parse(line: &str) -> Option<Sums> {
    let numbers: Option<Vec<u64>> = line.split(' ').map(|it| it.parse().ok()).collect();
    numbers?.try_into().ok()
}
