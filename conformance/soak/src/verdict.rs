//! Whether a run was good.

use std::time::Duration;

use crate::{
    sample::{MIB, Sample, TROUBLE},
    times::Times,
};

/// A run, as its samples tell.
pub struct Run {
    pub times: Times,
    pub before: Sample,
    pub samples: Vec<Sample>,
    pub after: Sample,
}

/// Something that has to hold.
pub struct Check {
    pub what: String,
    pub figure: String,
    pub limit: String,
    pub ok: bool,
}

/// How a column developed over the last half of a run.
pub struct Growth {
    /// What it was in the quiet time after each storm of that half.
    pub levels: Vec<f64>,
    /// Of the line through them, over the half.
    pub growth: f64,
    /// Half of its 95 % interval.
    pub margin: f64,
    pub mean: f64,
}

/// So much of what was there before may be noise.
const NOISE: f64 = 0.02;

/// The same for what the system's allocator holds: it depends on where free blocks lie, too.
const NOISE_OF_RSS: f64 = 0.05;

/// With fewer storms in the half there is no line to speak of.
const LEVELS: usize = 3;

/// What tables and caches keep, which depends on how many clients there are at the same time, and
/// not on how many there were.
const KEPT_BYTES: f64 = 128.0 * 1024.0;
const KEPT_ALLOCATIONS: f64 = 200.0;

impl Run {
    pub fn new(samples: &[Sample]) -> Option<Self> {
        let phase = |phase: f64| samples.iter().filter(move |it| it.get("phase") == phase);
        let run: Vec<Sample> = phase(1.0).cloned().collect();
        Some(Self {
            times: Times::fit(Duration::from_secs_f64(run.last()?.get("seconds").round())),
            before: phase(0.0).next()?.clone(),
            samples: run,
            after: phase(2.0).next()?.clone(),
        })
    }

    pub fn seconds(&self) -> f64 {
        self.last().get("seconds")
    }

    /// Of the traffic.
    pub fn last(&self) -> &Sample {
        &self.samples[self.samples.len() - 1]
    }

    /// When each storm was seen first.
    pub fn storms(&self) -> Vec<f64> {
        let pairs = self.samples.windows(2);
        let new = pairs.filter(|pair| pair[0].get("storms") < pair[1].get("storms"));
        new.map(|pair| pair[1].get("seconds")).collect()
    }

    /// `None` if the run is too short to say.
    pub fn growth(&self, column: &str) -> Option<Growth> {
        let half = self.seconds() / 2.0;
        let settle = self.times.settle().as_secs_f64();
        let mut points = Vec::new();
        let storms = self.storms();
        for (index, storm) in storms.iter().enumerate() {
            if *storm < half {
                continue;
            }
            let next = storms.get(index + 1).copied().unwrap_or(f64::INFINITY);
            let quiet = self.samples.iter().filter(|it| {
                let seconds = it.get("seconds");
                seconds >= storm + settle && seconds < next
            });
            let (times, mut values): (Vec<f64>, Vec<f64>) =
                quiet.map(|it| (it.get("seconds"), it.get(column))).unzip();
            if values.is_empty() {
                continue;
            }
            values.sort_by(f64::total_cmp);
            let time = times.iter().sum::<f64>() / times.len() as f64;
            points.push((time, values[values.len() / 2]));
        }
        (points.len() >= LEVELS).then(|| Growth::of(&points, half))
    }

    pub fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for (column, what) in TROUBLE {
            let count = self.after.get(column);
            checks.push(Check::new(what, count.to_string(), "0", count == 0.0));
        }
        // A run in which nothing happened proves nothing.
        for (column, what) in [
            ("checked", "numbered events that were checked"),
            ("npm", "lives of real clients"),
            ("recovered", "clients that came back to what they had"),
            ("slow_clients", "clients thrown out as they did not read"),
        ] {
            let count = self.after.get(column);
            checks.push(Check::new(
                what,
                count.to_string(),
                "at least 1",
                count > 0.0,
            ));
        }
        for (column, what, is_bytes) in GROWING {
            let Some(growth) = self.growth(column) else {
                continue;
            };
            let Growth {
                growth,
                margin,
                mean,
                ..
            } = growth;
            let part = 100.0 / mean;
            let level = shown(mean, is_bytes);
            let figure = format!(
                "{:+.2} % ± {:.2} % of {level}",
                growth * part,
                margin * part
            );
            let what = format!("growth of {what} over the last half");
            let noise = match column {
                "rss" => NOISE_OF_RSS,
                _ => NOISE,
            };
            let limit = format!("at most {} %", noise * 100.0);
            checks.push(Check::new(&what, figure, &limit, growth <= noise * mean));
        }
        for column in ["sessions", "sockets", "in_flight"] {
            let what = format!("{}, when all have gone", column.replace('_', " "));
            let count = self.after.get(column);
            checks.push(Check::new(&what, count.to_string(), "0", count == 0.0));
        }
        for (column, kept, is_bytes) in [
            ("descriptors", 0.0, false),
            ("tasks", 0.0, false),
            ("allocations", KEPT_ALLOCATIONS, false),
            ("heap", KEPT_BYTES, true),
        ] {
            let [before, after] = [&self.before, &self.after].map(|it| it.get(column));
            // Nothing can be a little more open.
            let noise = if kept > 0.0 { NOISE } else { 0.0 };
            let most = before * (1.0 + noise) + kept;
            checks.push(Check::new(
                &format!("{column}, when all have gone"),
                shown(after, is_bytes),
                &format!("at most {}", shown(most.floor(), is_bytes)),
                after <= most,
            ));
        }
        checks
    }
}

/// Columns that must not grow, and whether they are bytes.
pub const GROWING: [(&str, &str, bool); 7] = [
    ("heap", "the live heap", true),
    ("allocations", "live allocations", false),
    ("rss", "RSS", true),
    ("descriptors", "descriptors", false),
    ("sessions", "sessions", false),
    ("sockets", "sockets", false),
    ("tasks", "tasks", false),
];

pub fn shown(value: f64, is_bytes: bool) -> String {
    match is_bytes {
        true => format!("{:.2} MiB", value / MIB),
        false => format!("{value:.0}"),
    }
}

impl Check {
    fn new(what: &str, figure: String, limit: &str, ok: bool) -> Self {
        Self {
            what: what.to_owned(),
            figure,
            limit: limit.to_owned(),
            ok,
        }
    }
}

impl Growth {
    /// Least squares.
    fn of(points: &[(f64, f64)], time: f64) -> Self {
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|it| it.0), mean(|it| it.1));
        let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let both = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y));
        let slope = both.sum::<f64>() / spread;
        let rest = points
            .iter()
            .map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2));
        let error = (rest.sum::<f64>() / (count - 2.0) / spread).sqrt();
        let quantile = STUDENT.get(points.len() - 3).copied().unwrap_or(2.0);
        Self {
            levels: points.iter().map(|it| it.1).collect(),
            growth: slope * time,
            margin: quantile * error * time,
            mean: mean_y,
        }
    }
}

/// Student's t for 95 %, by degrees of freedom from 1.
const STUDENT: [f64; 10] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found() {
        let growth = Growth::of(&[(0.0, 10.0), (1.0, 12.0), (2.0, 14.0)], 10.0);
        assert!((growth.growth - 20.0).abs() < 1e-9);
        assert!(growth.margin < 1e-9);
        assert_eq!(growth.mean, 12.0);
    }

    #[test]
    fn noise_is_no_growth() {
        let growth = Growth::of(&[(0.0, 10.0), (1.0, 12.0), (2.0, 10.0)], 10.0);
        assert!(growth.growth.abs() < 1e-9);
        assert!(growth.margin > 1.0);
    }
}
