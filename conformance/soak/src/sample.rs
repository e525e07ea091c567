//! What is written down every few seconds.

use std::{fs, io, path::Path};

use self::Kind::{State, Sum};

/// What a column has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// How it is.
    State,
    /// What there was since the start of the run.
    Sum,
}

/// The columns of the file. All are numbers.
pub const COLUMNS: [(&str, Kind); 30] = [
    // 0: everybody has gone after the warm-up; 1: in the run; 2: everybody has gone after it
    ("phase", State),
    ("seconds", State),
    ("storms", Sum),
    // the server's processor seconds, and those of all its clients
    ("server_cpu", Sum),
    ("load_cpu", Sum),
    ("rss", State),
    ("descriptors", State),
    ("threads", State),
    ("sessions", State),
    ("sockets", State),
    ("tasks", State),
    ("in_flight", State),
    ("heap", State),
    ("allocations", State),
    // messages, as the server counts them
    ("received", Sum),
    ("sent", Sum),
    ("slow_clients", Sum),
    // what the clients say; see `Tally`
    ("came", Sum),
    ("recovered", Sum),
    ("not_recovered", Sum),
    ("checked", Sum),
    ("lost", Sum),
    ("duplicated", Sum),
    ("reordered", Sum),
    ("failed", Sum),
    // real clients from npm, which are among those before
    ("npm", Sum),
    // of the probe since the last sample, in microseconds
    ("p50", State),
    ("p99", State),
    ("max", State),
    // processes that ended before they should have, in the warm-up too
    ("broken", State),
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
        let index = COLUMNS.iter().position(|(it, _)| *it == column);
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

/// The first line of a file.
pub fn head() -> String {
    COLUMNS.map(|(name, _)| name).join(",")
}

/// Reads a file of samples.
pub fn read(file: &Path) -> io::Result<Vec<Sample>> {
    let text = fs::read_to_string(file)?;
    let mut lines = text.lines();
    let wrong = || io::Error::other(format!("{} holds no samples", file.display()));
    if lines.next() != Some(&head()) {
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
