//! What is written down every few seconds.

use std::{fs, io, path::Path};

/// The columns of the file. All are numbers; those of traffic and of processor time are sums since
/// the start of the run.
pub const COLUMNS: [&str; 30] = [
    // 0: everybody has gone after the warm-up; 1: in the run; 2: everybody has gone after it
    "phase",
    "seconds",
    "storms",
    // the server's processor seconds, and those of all its clients
    "server_cpu",
    "load_cpu",
    "rss",
    "descriptors",
    "threads",
    "sessions",
    "sockets",
    "tasks",
    "in_flight",
    "heap",
    "allocations",
    // messages, as the server counts them
    "received",
    "sent",
    "slow_clients",
    // what the clients say; see `Tally`
    "came",
    "recovered",
    "not_recovered",
    "checked",
    "lost",
    "duplicated",
    "reordered",
    "failed",
    // real clients from npm, which are among those before
    "npm",
    // of the probe since the last sample, in microseconds
    "p50",
    "p99",
    "max",
    // processes that ended before they should have
    "broken",
];

/// Columns that must stay zero, and what they say.
pub const TROUBLE: [(&str, &str); 6] = [
    ("lost", "events lost"),
    ("duplicated", "events that came twice"),
    ("reordered", "events out of order"),
    (
        "not_recovered",
        "clients that did not get back what they had",
    ),
    ("failed", "clients not treated as they should have been"),
    ("broken", "processes of clients that ended early"),
];

pub const MIB: f64 = 1024.0 * 1024.0;

#[derive(Clone)]
pub struct Sample(pub [f64; COLUMNS.len()]);

impl Sample {
    pub fn get(&self, column: &str) -> f64 {
        let index = COLUMNS.iter().position(|it| *it == column);
        self.0[index.unwrap_or_else(|| panic!("no column is called {column}"))]
    }

    /// The most of it for somebody who looks on.
    pub fn glance(&self) -> String {
        let get = |column| self.get(column);
        let trouble: f64 = TROUBLE.iter().map(|(column, _)| get(column)).sum();
        format!(
            "soak: {:6.0} s  storms {:2}  sessions {:5}  descriptors {:5}  heap {:5.1} MiB  RSS {:5.1} MiB  \
             checked {:9}  wrong {trouble}  p99 {:.1} ms  CPU {:.1} s",
            get("seconds"),
            get("storms"),
            get("sessions"),
            get("descriptors"),
            get("heap") / MIB,
            get("rss") / MIB,
            get("checked"),
            get("p99") / 1000.0,
            get("server_cpu"),
        )
    }

    pub fn line(&self) -> String {
        self.0.map(|it| it.to_string()).join(",")
    }
}

/// Reads a file of samples.
pub fn read(file: &Path) -> io::Result<Vec<Sample>> {
    let text = fs::read_to_string(file)?;
    let mut lines = text.lines();
    let wrong = || io::Error::other(format!("{} holds no samples", file.display()));
    if lines.next() != Some(&COLUMNS.join(",")) {
        return Err(wrong());
    }
    let sample = |line: &str| {
        let numbers: Vec<f64> = line
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        Some(Sample(numbers.try_into().ok()?))
    };
    lines.map(|it| sample(it).ok_or_else(wrong)).collect()
}
