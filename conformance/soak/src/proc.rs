//! What the system says of a process, in `/proc`.

use std::{fs, path::PathBuf};

/// A process.
pub struct Process(PathBuf);

impl Process {
    pub fn new(pid: u32) -> Self {
        Self(format!("/proc/{pid}").into())
    }

    pub fn own() -> Self {
        Self("/proc/self".into())
    }

    /// Resident bytes. The second number is pages of 4 KiB.
    pub fn rss(&self) -> u64 {
        let statm = self.read("statm");
        let pages = statm.split(' ').nth(1).and_then(|it| it.parse().ok());
        pages.unwrap_or(0) * 4096
    }

    /// Open files.
    pub fn descriptors(&self) -> u64 {
        self.count("fd")
    }

    pub fn threads(&self) -> u64 {
        self.count("task")
    }

    /// Seconds of all cores, in user and system. The system counts hundredths.
    pub fn cpu(&self) -> f64 {
        let stat = self.read("stat");
        // The name before it may hold anything.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let times = fields.split(' ').skip(11).take(2);
        times.filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() / 100.0
    }

    fn count(&self, directory: &str) -> u64 {
        fs::read_dir(self.0.join(directory)).map_or(0, |it| it.count() as u64)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }
}
