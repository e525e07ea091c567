//! What a run's samples say: on the screen, and in `docs/`.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
};

use crate::{
    plot, sample,
    sample::MIB,
    verdict::{Check, GROWING, Run, shown},
};

/// Judges the run in the file.
pub fn judge(file: &Path) -> ExitCode {
    let Some(run) = read(file) else {
        println!("soak: the run did not end");
        return ExitCode::FAILURE;
    };
    let checks = run.checks();
    for Check {
        what,
        figure,
        limit,
        ok,
    } in &checks
    {
        let mark = if *ok { "ok    " } else { "FAILED" };
        println!("{mark} soak: {what}: {figure} ({limit})");
    }
    if run.growth("heap").is_none() {
        println!("soak: too short a run to tell growth from noise");
    }
    let failed = checks.iter().filter(|it| !it.ok).count();
    println!("soak: {} passed, {failed} failed", checks.len() - failed);
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Writes the run in the file into `docs/`.
pub fn write(file: &Path) -> io::Result<()> {
    let Some(run) = read(file) else {
        return Ok(());
    };
    let docs = docs();
    fs::copy(file, docs.join("soak.csv"))?;
    fs::write(docs.join("soak.svg"), plot::svg(&run))?;
    let page = docs.join("SOAK.md");
    let text = fs::read_to_string(&page)?;
    let (before, rest) = text.split_once(BEGIN).ok_or_else(no_markers)?;
    let (_, after) = rest.split_once(END).ok_or_else(no_markers)?;
    let figures = figures(&run);
    fs::write(&page, format!("{before}{BEGIN}\n{figures}{END}{after}"))
}

/// Around what is written into `docs/SOAK.md`.
const BEGIN: &str = "<!-- soak:begin -->";
const END: &str = "<!-- soak:end -->";

fn no_markers() -> io::Error {
    io::Error::other("docs/SOAK.md has no markers")
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn read(file: &Path) -> Option<Run> {
    match sample::read(file) {
        Ok(samples) => Run::new(&samples),
        Err(error) => {
            println!("soak: {error}");
            None
        }
    }
}

fn figures(run: &Run) -> String {
    let mut text = String::new();
    let last = run.last();
    let seconds = run.seconds();
    let per_second = |column: &str| last.get(column) / seconds;
    let part = |column: &str| 100.0 * per_second(column);
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "| {name} | {value} |");
    };
    line("run", format!("{seconds:.0} seconds"));
    line("---", "---".into());
    line("machine", machine());
    line(
        "clients that came",
        format!(
            "{:.0}, of them real ones from npm {:.0}",
            last.get("came"),
            last.get("npm")
        ),
    );
    line(
        "storms",
        format!(
            "{:.0} of {} clients; {:.0} clients in all got back what they had",
            last.get("storms"),
            run.times.storm_clients,
            last.get("recovered")
        ),
    );
    line(
        "messages at the server",
        format!(
            "{:.0} received, {:.0} sent: {:.0} and {:.0} per second",
            last.get("received"),
            last.get("sent"),
            per_second("received"),
            per_second("sent")
        ),
    );
    line(
        "numbered events checked",
        format!("{:.0}", last.get("checked")),
    );
    line(
        "slow readers thrown out",
        format!("{:.0}", last.get("slow_clients")),
    );
    line(
        "processor time of the server",
        format!("{:.1} % of one core", part("server_cpu")),
    );
    line(
        "of all clients",
        format!("{:.1} % of one core", part("load_cpu")),
    );
    let peak = |column: &str| {
        run.samples
            .iter()
            .map(|it| it.get(column))
            .fold(0.0, f64::max)
    };
    line(
        "most at the same time",
        format!(
            "{:.0} sessions, {:.0} descriptors, live heap {:.1} MiB, RSS {:.1} MiB",
            peak("sessions"),
            peak("descriptors"),
            peak("heap") / MIB,
            peak("rss") / MIB
        ),
    );
    let median = |column: &str| {
        let mut values: Vec<f64> = run.samples.iter().map(|it| it.get(column)).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2] / 1000.0
    };
    line(
        "round trip of the probe",
        format!(
            "of the samples' medians the median {:.2} ms, of their 99 % {:.2} ms, the longest ever {:.0} ms",
            median("p50"),
            median("p99"),
            peak("max") / 1000.0
        ),
    );

    let _ = writeln!(text, "\n| what | figure | allowed | |\n|---|---|---|---|");
    for Check {
        what,
        figure,
        limit,
        ok,
    } in run.checks()
    {
        let mark = if ok { "✓" } else { "**no**" };
        let _ = writeln!(text, "| {what} | {figure} | {limit} | {mark} |");
    }

    let _ = writeln!(
        text,
        "\nLevels in the quiet time after each storm of the last half:\n"
    );
    for (column, what, is_bytes) in GROWING {
        if let Some(growth) = run.growth(column) {
            let levels: Vec<String> = growth
                .levels
                .iter()
                .map(|it| shown(*it, is_bytes))
                .collect();
            let _ = writeln!(text, "- {what}: {}", levels.join(", "));
        }
    }
    text
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|it| it.strip_prefix("model name"));
    let model = model.map_or("unknown", |it| it.trim_start_matches([' ', '\t', ':']));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let says = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        output.map_or_else(
            |_| "unknown".to_owned(),
            |it| String::from_utf8_lossy(&it.stdout).trim().to_owned(),
        )
    };
    let (rustc, node) = (says("rustc"), says("node"));
    format!("{model}, {cores} cores; {rustc}; Node.js {node}")
}
