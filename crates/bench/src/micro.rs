//! What criterion has left behind.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;

/// One micro-benchmark.
#[derive(Serialize)]
pub(crate) struct Micro {
    pub(crate) title: String,
    pub(crate) nanoseconds: f64,
}

/// All of them, by title.
pub(crate) fn read(target: &Path) -> Result<Vec<Micro>> {
    let directory = target.join("criterion");
    let mut all = Vec::new();
    let entries = fs::read_dir(&directory);
    for entry in entries.with_context(|| format!("{} is missing", directory.display()))? {
        let newest = entry?.path().join("new");
        if newest.is_dir() {
            let read = |file| -> Result<Value> {
                Ok(serde_json::from_str(&fs::read_to_string(
                    newest.join(file),
                )?)?)
            };
            let title = read("benchmark.json")?["title"].as_str().map(str::to_owned);
            let nanoseconds = read("estimates.json")?["median"]["point_estimate"].as_f64();
            all.push(Micro {
                title: title.context("no title")?,
                nanoseconds: nanoseconds.context("no estimate")?,
            });
        }
    }
    ensure!(!all.is_empty(), "no micro-benchmark has run");
    all.sort_by(|a, b| a.title.cmp(&b.title));
    Ok(all)
}
