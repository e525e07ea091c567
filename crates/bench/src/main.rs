//! The benchmark: Socket.IO servers side by side, on one core each, under the same load.
//!
//! What is compared is the server's CPU time per message, from its process's own clock: it holds on
//! machines that have other things to do, where throughput does not. See `README.md`.
#![forbid(unsafe_code)]

mod client;
mod frame;
mod instructions;
mod load;
mod machine;
mod micro;
mod options;
mod reactor;
mod report;
mod results;
mod scenario;
mod server;

use std::{
    env, fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    load::Timing,
    machine::Machine,
    options::{Command, HELP, Options},
    results::{Outcome, Results, Run, Skipped},
    scenario::{Idle, Pauses, SCENARIOS, Scenario, Work},
    server::{Build, Cores, Kind, Server, pin, raise_descriptors},
};

fn main() -> ExitCode {
    match Command::parse(env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Help => println!("{HELP}"),
        Command::List => {
            for Scenario { name, title, .. } in SCENARIOS {
                println!("{name:24} {title}");
            }
        }
        Command::Run(options) => {
            let start = Instant::now();
            let results = Bench::new(&options)?.run(&options)?;
            let tables = report::tables(&results);
            println!("\n{tables}");
            save(&results, options.json)?;
            if options.write {
                let path = server::home().join("../../docs/PERFORMANCE.md");
                report::write(&path, &tables)?;
                eprintln!("bench: wrote the tables into docs/PERFORMANCE.md");
            }
            eprintln!("bench: {} s", start.elapsed().as_secs());
        }
    }
    Ok(())
}

struct Bench {
    results: Results,
    timing: Timing,
    pauses: Pauses,
    /// For the progress.
    steps: usize,
    step: usize,
}

impl Bench {
    fn new(options: &Options) -> Result<Self> {
        let descriptors = raise_descriptors(DESCRIPTORS)?;
        let machine = Machine::look(descriptors);
        let cores = Cores::choose(options.server_core, options.load_core)?;
        pin(cores.load)?;
        let [warm_up, interval, open, later, left] = match options.quick {
            false => [250, 500, 2000, 10_000, 1000],
            true => [200, 300, 1000, 2500, 1000],
        }
        .map(Duration::from_millis);
        Ok(Self {
            results: Results {
                machine,
                cores,
                quick: options.quick,
                rounds: options.rounds,
                pauses_s: [open, later, left].map(|it| it.as_secs_f64()),
                servers: options.servers.clone(),
                runs: Vec::new(),
                skipped: Vec::new(),
                instructions: Vec::new(),
                micro: match options.micro {
                    true => micro::read(&target()?)?,
                    false => Vec::new(),
                },
            },
            timing: Timing {
                warm_up,
                warm_up_messages: 0,
                interval,
                messages: 0,
            },
            pauses: Pauses { open, later, left },
            steps: 0,
            step: 0,
        })
    }

    fn run(mut self, options: &Options) -> Result<Results> {
        let mut scenarios = options.scenarios.clone();
        scenarios.retain(|scenario| self.is_possible(scenario));
        let substitutes = scenarios.iter().filter_map(|it| it.substitute());
        let needless: Vec<_> = substitutes.map(|it| it.name).collect();
        scenarios.retain(|scenario| !needless.contains(&scenario.name));
        let times = |scenario: &Scenario| match options.quick {
            true => 1,
            false => scenario.times,
        };
        let servers = &options.servers;
        let counts = servers.contains(&Kind::Ours);
        let steps = scenarios.iter().map(|scenario| {
            let servers = servers.iter().filter(|&&kind| scenario.is_for(kind));
            let rounds = match scenario.work {
                Work::Idle(_) => 1,
                _ => options.rounds * times(scenario),
            };
            servers.count() * rounds + usize::from(counts)
        });
        self.steps = steps.sum();
        if options.instructions && instructions::is_possible() {
            self.results.instructions = instructions::count(servers, self.results.cores)?;
        } else if options.instructions {
            let reason = "valgrind is not installed".to_owned();
            eprintln!("bench: SKIPPED instructions: {reason}");
            let scenario = "instructions per message";
            self.results.skipped.push(Skipped { scenario, reason });
        }

        for scenario in &scenarios {
            if let Work::Idle(idle) = scenario.work {
                self.hold(scenario, idle, servers)?;
            }
        }
        for round in 1..=options.rounds {
            for scenario in &scenarios {
                if matches!(scenario.work, Work::Idle(_)) {
                    continue;
                }
                for _ in 0..times(scenario) {
                    for &server in servers.iter().filter(|&&kind| scenario.is_for(kind)) {
                        self.measure(scenario, server, round, Build::Plain)?;
                    }
                }
                if round == 1 && counts {
                    self.measure(scenario, Kind::Ours, round, Build::CountsAllocations)?;
                }
            }
        }
        Ok(self.results)
    }

    /// Whether there are descriptors enough; says so if not.
    fn is_possible(&mut self, scenario: &Scenario) -> bool {
        let needed = (scenario.connections() + RESERVE) as u64;
        let limit = self.results.machine.descriptors;
        if needed <= limit {
            return true;
        }
        let mut reason =
            format!("it needs {needed} open files, and {limit} are allowed (ulimit -n)");
        if let Some(substitute) = scenario.substitute() {
            reason += &format!(". In its place: {}, ours only", substitute.title);
        }
        eprintln!("bench: SKIPPED {}: {reason}", scenario.name);
        self.results.skipped.push(Skipped {
            scenario: scenario.name,
            reason,
        });
        false
    }

    fn measure(
        &mut self,
        scenario: &Scenario,
        kind: Kind,
        round: usize,
        build: Build,
    ) -> Result<()> {
        let mut server = Server::start(kind, build, scenario.in_memory(), self.results.cores)?;
        let mut timing = self.timing;
        timing.warm_up *= kind.warm_up();
        let measured = scenario.run(&mut server, timing);
        let measured = measured.with_context(|| failed(scenario, kind))?;
        let result = match measured.allocations {
            Some(allocations) => format!("{allocations:.2} allocations per message"),
            None => format!("{:.2} µs per message", measured.cpu_us),
        };
        self.progress(&format!("round {round}"), scenario, kind, &result);
        self.push(scenario, kind, round, build, Outcome::Measured(measured));
        Ok(())
    }

    /// Idle servers do not disturb each other: as many side by side as there are descriptors for.
    fn hold(&mut self, scenario: &Scenario, work: Idle, kinds: &[Kind]) -> Result<()> {
        let mut all: Vec<_> = kinds.iter().map(|&kind| (kind, Build::Plain)).collect();
        if kinds.contains(&Kind::Ours) {
            all.push((Kind::Ours, Build::CountsAllocations));
        }
        let free = self.results.machine.descriptors as usize - RESERVE;
        for some in all.chunks((free / work.descriptors()).max(1)) {
            let servers = some
                .iter()
                .map(|&(kind, build)| Server::start(kind, build, 0, self.results.cores));
            let mut servers = servers.collect::<Result<Vec<_>>>()?;
            let held = work.run(&mut servers, self.pauses);
            let held = held.with_context(|| scenario.name)?;
            for (&(kind, build), held) in some.iter().zip(held) {
                let result = match held.heap_per_connection() {
                    Some(kib) => format!("{kib:.2} KiB of heap per connection"),
                    None => format!("{:.2} KiB per connection", held.rss_per_connection()),
                };
                self.progress("idle", scenario, kind, &result);
                self.push(scenario, kind, 1, build, Outcome::Held(held));
            }
        }
        Ok(())
    }

    fn progress(&mut self, round: &str, scenario: &Scenario, kind: Kind, result: &str) {
        self.step += 1;
        let (step, steps, name) = (self.step, self.steps, scenario.name);
        eprintln!(
            "[{step:3}/{steps}] {round}  {name:24} {:12} {result}",
            kind.title()
        );
    }

    fn push(
        &mut self,
        scenario: &Scenario,
        server: Kind,
        round: usize,
        build: Build,
        outcome: Outcome,
    ) {
        self.results.runs.push(Run {
            scenario: scenario.name,
            server,
            round,
            counting: build == Build::CountsAllocations,
            outcome,
        });
    }
}

fn failed(scenario: &Scenario, kind: Kind) -> String {
    format!("{} FAILED in {}", kind.title(), scenario.name)
}

/// Writes the raw results: where it was asked for, or into the target directory.
fn save(results: &Results, path: Option<PathBuf>) -> Result<()> {
    let path = match path {
        Some(path) => path,
        None => {
            let directory = target()?.join("bench");
            fs::create_dir_all(&directory)?;
            directory.join("results.json")
        }
    };
    let file = fs::File::create(&path).with_context(|| format!("{}", path.display()))?;
    serde_json::to_writer_pretty(file, results)?;
    eprintln!("bench: raw results in {}", path.display());
    Ok(())
}

/// Cargo's target directory, where this program is.
fn target() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let target = program.ancestors().nth(2);
    Ok(target.context("no target directory")?.to_owned())
}

/// What the largest scenario needs, and some.
const DESCRIPTORS: u64 = 60_000;

/// Descriptors beside those of the connections, here and at the servers.
const RESERVE: usize = 100;
