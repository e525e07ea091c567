//! Where it was measured.

use std::{fs, process::Command, thread};

use serde::Serialize;

use crate::server::home;

#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    pub(crate) node: String,
    pub(crate) socketioxide: String,
    pub(crate) socketio_js: String,
    pub(crate) descriptors: u64,
}

impl Machine {
    /// Takes the limit of open files. To be called before this process is pinned.
    pub(crate) fn look(descriptors: u64) -> Self {
        Self {
            cpu: cpu(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease"),
            rustc: says("rustc"),
            node: says("node"),
            socketioxide: version_in_lock("socketioxide"),
            socketio_js: socketio_js(),
            descriptors,
        }
    }
}

fn cpu() -> String {
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    model.map_or_else(unknown, |it| it.trim_start_matches([' ', '\t', ':']).into())
}

/// The first line of `program --version`.
fn says(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let output = output.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
    output.unwrap_or_else(|_| unknown())
}

fn version_in_lock(package: &str) -> String {
    let lock = read(home().join("Cargo.lock"));
    let name = format!("name = \"{package}\"\nversion = \"");
    let rest = lock.split_once(&name).map(|(_, rest)| rest);
    let version = rest.and_then(|rest| rest.split('"').next());
    version.map_or_else(unknown, str::to_owned)
}

fn socketio_js() -> String {
    let package = read(home().join("peers/node/node_modules/socket.io/package.json"));
    let package: serde_json::Value = serde_json::from_str(&package).unwrap_or_default();
    let version = package["version"].as_str();
    version.map_or_else(unknown, str::to_owned)
}

fn read(path: impl AsRef<std::path::Path>) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

fn unknown() -> String {
    "unknown".into()
}
