//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{
    scenario::{SCENARIOS, Scenario},
    server::Kind,
};

pub(crate) const HELP: &str = "\
Measures Socket.IO servers side by side: server CPU per message, latency, memory.

usage: crates/bench/run [OPTION]... [SCENARIO]...

A SCENARIO is a name of the list, or what such names begin with. Without one: all.

  --quick            shorter intervals, fewer scenarios
  --rounds N         how many rounds (2)
  --servers LIST     of floor,ours,oxide,node (all four)
  --server-core N    the core for the server (the last one)
  --load-core N      the core for the load generator (the one before)
  --micro            the micro-benchmarks too
  --instructions     instructions per message too, if valgrind is installed
  --json FILE        where the raw results go (bench/results.json in the target directory)
  --write            put the tables into docs/PERFORMANCE.md
  --list             list the scenarios
  --help             this

Any answer that is wrong, lost or out of order fails the run.";

pub(crate) enum Command {
    Help,
    List,
    Run(Options),
}

pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) servers: Vec<Kind>,
    pub(crate) scenarios: Vec<&'static Scenario>,
    pub(crate) server_core: Option<usize>,
    pub(crate) load_core: Option<usize>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) micro: bool,
    pub(crate) instructions: bool,
    pub(crate) write: bool,
}

impl Command {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut quick = false;
        let mut rounds = None;
        let mut servers = Kind::ALL.to_vec();
        let mut names = Vec::new();
        let (mut server_core, mut load_core) = (None, None);
        let mut json = None;
        let (mut micro, mut instructions, mut write) = (false, false, false);
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .with_context(|| format!("{argument} what?"))
            };
            match &*argument {
                "--help" | "-h" => return Ok(Self::Help),
                "--list" => return Ok(Self::List),
                "--quick" => quick = true,
                "--micro" => micro = true,
                "--instructions" => instructions = true,
                "--write" => write = true,
                "--rounds" => rounds = Some(value()?.parse().context("--rounds")?),
                "--servers" => servers = parse_servers(&value()?)?,
                "--server-core" => server_core = Some(value()?.parse().context("--server-core")?),
                "--load-core" => load_core = Some(value()?.parse().context("--load-core")?),
                "--json" => json = Some(value()?.into()),
                option if option.starts_with('-') => bail!("there is no option {option}"),
                _ => names.push(argument),
            }
        }
        if write && (!names.is_empty() || servers.len() < Kind::ALL.len()) {
            bail!("--write is for all scenarios and servers: it replaces the tables");
        }
        Ok(Self::Run(Options {
            quick,
            rounds: rounds.unwrap_or(2).max(1),
            servers,
            scenarios: choose(&names, quick)?,
            server_core,
            load_core,
            json,
            micro,
            instructions,
            write,
        }))
    }
}

fn parse_servers(list: &str) -> Result<Vec<Kind>> {
    list.split(',')
        .map(|name| {
            let kind = Kind::ALL.into_iter().find(|kind| kind.key() == name);
            kind.with_context(|| format!("there is no server {name:?}"))
        })
        .collect()
}

/// Those that were asked for by name; without names all, or all of the quick ones.
fn choose(names: &[String], quick: bool) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        let scenarios = SCENARIOS.iter().filter(|it| it.quick || !quick);
        return Ok(scenarios.collect());
    }
    let begins = |scenario: &Scenario, name: &String| scenario.name.starts_with(name.as_str());
    for name in names {
        if !SCENARIOS.iter().any(|scenario| begins(scenario, name)) {
            bail!("no scenario begins with {name:?}; --list names them");
        }
    }
    // A name that is complete means that one only.
    let is_chosen = |scenario: &&Scenario| {
        names.iter().any(|name| {
            let exact = SCENARIOS.iter().any(|it| it.name == name);
            if exact {
                scenario.name == name
            } else {
                begins(scenario, name)
            }
        })
    };
    Ok(SCENARIOS.iter().filter(is_chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], quick: bool) -> Vec<&'static str> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let scenarios = choose(&names, quick).unwrap();
        scenarios.iter().map(|it| it.name).collect()
    }

    #[test]
    fn a_complete_name_means_one_scenario_and_a_beginning_all() {
        assert_eq!(chosen(&["echo-64"], false), ["echo-64"]);
        assert_eq!(chosen(&["echo-6"], false), ["echo-64", "echo-64-16"]);
    }

    #[test]
    fn without_names_the_quick_benchmark_is_a_part_of_the_whole() {
        assert_eq!(chosen(&[], false).len(), SCENARIOS.len());
        assert!(chosen(&[], true).len() < SCENARIOS.len());
        // unless it is asked for
        assert_eq!(chosen(&["ack-1k"], true), ["ack-1k"]);
    }

    #[test]
    fn a_name_that_fits_nothing_is_an_error() {
        assert!(choose(&["echo".into(), "ecko".into()], false).is_err());
    }
}
