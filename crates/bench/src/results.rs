//! All that was measured.

use serde::Serialize;

use crate::{
    instructions::Instructions,
    load::Measured,
    machine::Machine,
    micro::Micro,
    scenario::{Held, Scenario},
    server::{Cores, Kind},
};

/// What goes into the JSON file.
#[derive(Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) cores: Cores,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// When idle connections are looked at: after they have come, later, after they have left.
    pub(crate) pauses_s: [f64; 3],
    pub(crate) servers: Vec<Kind>,
    pub(crate) runs: Vec<Run>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) instructions: Vec<Instructions>,
    pub(crate) micro: Vec<Micro>,
}

/// One server in one round of one scenario.
#[derive(Serialize)]
pub(crate) struct Run {
    pub(crate) scenario: &'static str,
    pub(crate) server: Kind,
    pub(crate) round: usize,
    /// Whether it was the build that counts allocations. Its times are not compared.
    pub(crate) counting: bool,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Measured(Measured),
    Held(Held),
}

#[derive(Serialize)]
pub(crate) struct Skipped {
    pub(crate) scenario: &'static str,
    pub(crate) reason: String,
}

impl Results {
    /// What was measured of a server in a scenario, in the order of the rounds.
    pub(crate) fn measured(&self, scenario: &Scenario, server: Kind) -> Vec<&Measured> {
        self.runs_of(scenario, server, false)
            .filter_map(|outcome| match outcome {
                Outcome::Measured(measured) => Some(measured),
                Outcome::Held(_) => None,
            })
            .collect()
    }

    pub(crate) fn held(&self, scenario: &Scenario, server: Kind, counting: bool) -> Option<&Held> {
        self.runs_of(scenario, server, counting)
            .find_map(|outcome| match outcome {
                Outcome::Held(held) => Some(held),
                Outcome::Measured(_) => None,
            })
    }

    /// Allocations per message of our server.
    pub(crate) fn allocations(&self, scenario: &Scenario) -> Option<f64> {
        self.runs_of(scenario, Kind::Ours, true)
            .find_map(|outcome| match outcome {
                Outcome::Measured(measured) => measured.allocations,
                Outcome::Held(_) => None,
            })
    }

    fn runs_of(
        &self,
        scenario: &Scenario,
        server: Kind,
        counting: bool,
    ) -> impl Iterator<Item = &Outcome> {
        let name = scenario.name;
        self.runs
            .iter()
            .filter(move |it| (it.scenario, it.server, it.counting) == (name, server, counting))
            .map(|it| &it.outcome)
    }
}
