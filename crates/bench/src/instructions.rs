//! How many instructions a message takes, by valgrind: the same in every run, whatever else the
//! machine does. What the kernel does is not in it.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::{
    scenario::SCENARIOS,
    server::{Build, Cores, Kind, Server},
};

/// One server in one scenario.
#[derive(Serialize)]
pub(crate) struct Instructions {
    pub(crate) scenario: &'static str,
    pub(crate) server: Kind,
    pub(crate) per_message: f64,
}

/// The scenarios, and how many messages are few there.
const COUNTED: &[(&str, u64)] = &[
    ("echo-64", 3000),
    ("echo-1k", 3000),
    ("ack-64", 3000),
    ("polling-echo", 1000),
    ("broadcast-10", 3000),
    ("broadcast-1000", 15_000),
    ("connect", 300),
    ("upgrade", 150),
];

/// How many times as many the longer run has.
const LONGER: u64 = 3;

/// Whether valgrind is here.
pub(crate) fn is_possible() -> bool {
    let valgrind = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    valgrind.is_ok_and(|it| it.success())
}

/// Counts for the servers that are compiled ahead.
pub(crate) fn count(servers: &[Kind], cores: Cores) -> Result<Vec<Instructions>> {
    let mut all = Vec::new();
    for &(name, few) in COUNTED {
        for &server in servers.iter().filter(|&&it| it != Kind::Node) {
            let per_message = per_message(name, few, server, cores);
            let per_message =
                per_message.with_context(|| format!("{} FAILED in {name}", server.title()))?;
            eprintln!(
                "valgrind  {name:24} {:12} {per_message:.0} instructions per message",
                server.title()
            );
            all.push(Instructions {
                scenario: name,
                server,
                per_message,
            });
        }
    }
    Ok(all)
}

/// What a longer run takes beyond a shorter one: what it takes to start and to connect is in both.
fn per_message(name: &str, few: u64, kind: Kind, cores: Cores) -> Result<f64> {
    let run = |messages| -> Result<_> {
        let scenario = SCENARIOS.iter().find(|it| it.name == name);
        let scenario = scenario.context("no such scenario")?;
        let mut server = Server::start(kind, Build::UnderCallgrind, 0, cores)?;
        let answered = scenario.answer(&mut server, messages)?;
        Ok((answered, server.instructions()?))
    };
    let (few, less) = run(few)?;
    let (many, more) = run(few * LONGER)?;
    ensure!(many > few && more > less, "nothing to compare");
    Ok((more - less) as f64 / (many - few) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_a_scenario() {
        for (name, _) in COUNTED {
            assert!(SCENARIOS.iter().any(|it| it.name == *name), "{name}");
        }
    }
}
