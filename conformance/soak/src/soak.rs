//! A run: traffic for a while, with everybody gone before and after it.

use std::{
    env,
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

use crate::{
    child::Answering,
    load::Load,
    probe::Latency,
    proc::Process,
    sample::{self, COLUMNS, Kind, Sample},
    server::Counts,
    tally::{self, Sums, TALLY},
    times::Times,
};

/// Runs for so many seconds, and a moment before to warm up. Writes a sample again and again into
/// the file.
pub async fn run(seconds: u64, file: &Path) {
    let run = Duration::from_secs(seconds);
    let mut soak = Soak::start(Times::fit(run), file);
    println!("soak: warming up");
    soak.traffic(soak.times.warm_up, |_| {}).await;
    soak.begin();
    soak.write(Phase::Before);
    soak.traffic(run, |soak| soak.write(Phase::Run)).await;
    soak.write(Phase::After);
}

struct Soak {
    times: Times,
    server: Answering,
    port: u16,
    csv: File,
    /// The server's tasks while there is nobody.
    idle: u64,
    started: Instant,
    crowd: Option<Crowd>,
    latency: Latency,
    storms: u64,
    /// Of the clients' processes that have ended.
    past: Totals,
    broken: u64,
    /// Everything up to the end of the warm-up, which does not count.
    ignored: Sample,
}

/// The clients of one stretch of traffic.
struct Crowd {
    load: Load,
    probe: Answering,
    npm: Answering,
}

/// What the clients have seen, and what they took.
#[derive(Clone, Copy, Default)]
struct Totals {
    sums: Sums,
    npm: u64,
    cpu: f64,
}

#[derive(Clone, Copy)]
enum Phase {
    Before,
    Run,
    After,
}

impl Soak {
    fn start(times: Times, file: &Path) -> Self {
        let program = env::current_exe().expect("a path");
        let mut server = Answering::start(program, &["server", times.name]);
        let port = server.line().and_then(|it| it.parse().ok());
        let mut csv = File::create(file).unwrap_or_else(|it| panic!("{}: {it}", file.display()));
        writeln!(csv, "{}", sample::head()).expect("written");
        let counts = server.ask().and_then(|it| Counts::parse(&it));
        Self {
            times,
            server,
            port: port.expect("the server's port"),
            csv,
            idle: counts.expect("counts").tasks,
            started: Instant::now(),
            crowd: None,
            latency: Latency::default(),
            storms: 0,
            past: Totals::default(),
            broken: 0,
            ignored: Sample([0.0; COLUMNS.len()]),
        }
    }

    /// From here on everything counts.
    fn begin(&mut self) {
        self.ignored = self.take(Phase::Before);
        self.started = Instant::now();
    }

    /// Everybody comes, and is gone when it returns.
    async fn traffic(&mut self, time: Duration, sample_now: fn(&mut Self)) {
        self.crowd = Some(Crowd::start(self.port, self.times));
        let start = Instant::now();
        let mut storm = self.times.first_storm();
        let mut sample = self.times.sample;
        while start.elapsed() < time {
            let next = storm.min(sample).min(time);
            sleep(next.saturating_sub(start.elapsed())).await;
            if next == sample {
                sample += self.times.sample;
                sample_now(self);
            }
            // Not so late that not all would be back.
            if next == storm {
                storm += self.times.storm_every;
                if start.elapsed() + 3 * self.times.storm_lasts < time {
                    self.storms += 1;
                    self.crowd.as_mut().expect("a crowd").load.storm();
                }
            }
        }
        let crowd = self.crowd.take().expect("a crowd");
        crowd.leave(self).await;
        let (idle, patience) = (self.idle, self.times.forgotten());
        let gone = async {
            loop {
                let now = self.server_counts();
                // What sweeps out what was kept for those who may come back is a task.
                if now.sessions == 0 && now.tasks <= idle {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        // If somebody or something is still there, the next sample says so.
        let _ = timeout(patience, gone).await;
    }

    fn write(&mut self, phase: Phase) {
        let mut sample = self.take(phase);
        for (index, (_, kind)) in COLUMNS.iter().enumerate() {
            if *kind == Kind::Sum {
                sample.0[index] = hundredths(sample.0[index] - self.ignored.0[index]);
            }
        }
        writeln!(self.csv, "{}", sample.line()).expect("written");
        println!("{}", sample.glance());
    }

    fn take(&mut self, phase: Phase) -> Sample {
        let mut totals = self.past;
        totals.sums = sum(totals.sums, TALLY.sums());
        totals.cpu += Process::own().cpu();
        if let Some(crowd) = &mut self.crowd {
            let (latency, broken) = totals.add(crowd.probe.ask(), crowd.npm.ask());
            self.latency = latency.unwrap_or(self.latency);
            self.broken += broken;
            totals.cpu += crowd.cpu();
        }
        let counts = self.server_counts();
        let process = self.server.process();
        let [
            came,
            recovered,
            not_recovered,
            checked,
            lost,
            duplicated,
            reordered,
            failed,
        ] = totals.sums;
        let whole = [
            counts.received,
            counts.sent,
            counts.slow_clients,
            came,
            recovered,
            not_recovered,
            checked,
            lost,
            duplicated,
            reordered,
            failed,
            totals.npm,
            self.latency.p50,
            self.latency.p99,
            self.latency.max,
            self.broken,
        ];
        let state = [
            process.rss(),
            process.descriptors(),
            process.threads(),
            counts.sessions,
            counts.sockets,
            counts.tasks,
            counts.in_flight,
            counts.heap,
            counts.allocations,
        ];
        let head = [
            phase as u8 as f64,
            hundredths(self.started.elapsed().as_secs_f64()),
            self.storms as f64,
            process.cpu(),
            hundredths(totals.cpu),
        ];
        let rest = state.into_iter().chain(whole).map(|it| it as f64);
        let values: Vec<f64> = head.into_iter().chain(rest).collect();
        Sample(values.try_into().expect("a value for each column"))
    }

    fn server_counts(&mut self) -> Counts {
        let line = self.server.ask().expect("the server runs");
        Counts::parse(&line).expect("counts")
    }
}

impl Crowd {
    fn start(port: u16, times: Times) -> Self {
        let program = env::current_exe().expect("a path");
        let port_arg = port.to_string();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients.mjs");
        let script = script.to_str().expect("a path in UTF-8");
        Self {
            load: Load::start(port, times),
            probe: Answering::start(program, &["probe", &port_arg]),
            npm: Answering::start("node", &[script, &port_arg]),
        }
    }

    fn cpu(&self) -> f64 {
        self.probe.process().cpu() + self.npm.process().cpu()
    }

    async fn leave(mut self, soak: &mut Soak) {
        let cpu = self.cpu();
        self.probe.close();
        self.npm.close();
        self.load.leave().await;
        let past = &mut soak.past;
        past.cpu += cpu;
        let (_, broken) = past.add(self.probe.end(), self.npm.end());
        soak.broken += broken;
    }
}

impl Totals {
    /// Adds what the clients' processes have said last. Gives the latency, if it was said, and how
    /// many of them have said nothing.
    fn add(&mut self, probe: Option<String>, npm: Option<String>) -> (Option<Latency>, u64) {
        let probe = probe.and_then(|it| Latency::parse(&it));
        let npm = npm.and_then(|it| tally::parse(&it));
        for sums in probe.map(|(_, sums)| sums).into_iter().chain(npm) {
            self.sums = sum(self.sums, sums);
        }
        self.npm += npm.map_or(0, |sums| sums[0]);
        let broken = u64::from(probe.is_none()) + u64::from(npm.is_none());
        (probe.map(|(latency, _)| latency), broken)
    }
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

fn sum(left: Sums, right: Sums) -> Sums {
    std::array::from_fn(|index| left[index] + right[index])
}
