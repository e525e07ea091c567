//! See `conformance/README.md`.

mod application;
mod child;
mod client;
mod clients;
mod cycles;
mod heap;
mod load;
mod plot;
mod probe;
mod proc;
mod report;
mod sample;
mod server;
mod soak;
mod tally;
mod times;
mod verdict;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use heap::Counting;
use times::Times;

#[global_allocator]
static HEAP: Counting = Counting;

const USAGE: &str = "usage: soak SECONDS           mixed traffic for so long
       soak SECONDS --write   the same; writes docs/SOAK.md
       soak report CSV        writes docs/SOAK.md from the samples of a run
       soak cycles COUNT      clients come and go, so many, in one process";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let done = match args[..] {
        [seconds] => seconds.parse().ok().map(|it| {
            let file = samples("soak-short.csv");
            runtime.block_on(soak::run(it, &file));
            report::judge(&file)
        }),
        [seconds, "--write"] => seconds.parse().ok().map(|it| {
            let file = samples("soak.csv");
            runtime.block_on(soak::run(it, &file));
            report::write(&file).expect("written to docs/");
            report::judge(&file)
        }),
        ["report", file] => {
            report::write(file.as_ref()).expect("written to docs/");
            Some(report::judge(file.as_ref()))
        }
        ["cycles", count] => count
            .parse()
            .ok()
            .map(|it| runtime.block_on(cycles::run(it))),
        // The other processes of a run.
        ["server", times] => Times::named(times).map(|it| {
            runtime.block_on(server::run(it));
            ExitCode::SUCCESS
        }),
        ["probe", port] => port.parse().ok().map(|it| {
            runtime.block_on(probe::run(it));
            ExitCode::SUCCESS
        }),
        _ => None,
    };
    done.unwrap_or_else(|| {
        eprintln!("{USAGE}");
        ExitCode::FAILURE
    })
}

/// Where a run writes as it goes.
fn samples(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    fs::create_dir_all(&folder).expect("a folder");
    folder.join(name)
}
