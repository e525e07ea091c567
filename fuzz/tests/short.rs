//! A short run of each target, the same every time: its corpus, and so many changed inputs of it.

use std::{
    fs, panic,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Instant,
};

use fuzz::{TARGETS, Target};
use testkit::Rng;

#[test]
fn every_target_holds() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Relaxed);
        report(info);
    }));
    let mut failed = Vec::new();
    for target in TARGETS {
        let corpus = corpus(target.name);
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        let seed = target
            .name
            .bytes()
            .fold(0, |seed, byte| seed * 31 + u64::from(byte));
        let mut rng = Rng::new(seed);
        let start = Instant::now();
        let mut executions = 0;
        let mut run = |input: &[u8]| {
            executions += 1;
            holds(target, input)
        };
        let held = corpus.iter().all(|input| run(input))
            && (0..count(target)).all(|_| run(&change(&corpus, &mut rng)));
        let verdict = if held { "ok" } else { "FAILED" };
        println!(
            "{:12} {executions:8} executions in {:4.1} s: {verdict}",
            target.name,
            start.elapsed().as_secs_f64()
        );
        if !held {
            failed.push(target.name);
        }
    }
    assert!(failed.is_empty(), "{failed:?} failed");
}

/// A few seconds for each.
fn count(target: Target) -> usize {
    match target.name {
        "server" => 50_000,
        _ => 1_000_000,
    }
}

/// How often something has panicked: a task may, which its runtime catches.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn holds(target: Target, input: &[u8]) -> bool {
    let before = PANICS.load(Relaxed);
    let result = panic::catch_unwind(|| (target.run)(input));
    let holds = result.is_ok() && PANICS.load(Relaxed) == before;
    if !holds {
        println!(
            "{} does not hold for b\"{}\"",
            target.name,
            input.escape_ascii()
        );
    }
    holds
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let files = entries.map(|it| it.expect("a folder").path());
    let mut files: Vec<_> = files.filter(|it| it.is_file()).collect();
    files.sort();
    files
        .iter()
        .map(|it| fs::read(it).expect("a file"))
        .collect()
}

/// An input with a few changes.
fn change(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut below = |bound: usize| rng.below(bound.max(1) as u64) as usize;
    let mut input = corpus[below(corpus.len())].clone();
    for _ in 0..=below(4) {
        let at = below(input.len() + 1);
        let end = (at + below(8)).min(input.len());
        match below(8) {
            0 if at < input.len() => input[at] ^= 1 << below(8),
            1 if at < input.len() => input[at] = below(256) as u8,
            2 => input.insert(at, below(256) as u8),
            3 => drop(input.drain(at..end)),
            4 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            5 => {
                let token = TOKENS[below(TOKENS.len())];
                input.splice(at..end, token.bytes());
            }
            // a piece of another input
            6 => {
                let other = &corpus[below(corpus.len())];
                let from = below(other.len() + 1);
                let to = (from + below(32)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            _ => input.truncate(at.max(1)),
        }
    }
    input
}

/// What means something to one or another.
const TOKENS: &[&str] = &[
    "\0",
    "\u{1}",
    "\u{1e}",
    "\u{7f}",
    "\"",
    "\\",
    "\\n",
    "\\\\n",
    "\\u0041",
    "\\ud800",
    "é",
    "€",
    "😀",
    "Ã©",
    ":",
    ",",
    "-",
    "/",
    "[",
    "]",
    "{",
    "}",
    "0",
    "1",
    "10",
    "9",
    "4294967296",
    "18446744073709551615",
    "1e5",
    "-1",
    "b",
    "b4",
    "=",
    "==",
    "%",
    "%41",
    "+",
    "&",
    "$0",
    "_placeholder",
    "\"_placeholder\":true",
    "\"num\":0",
    "\r\n",
    " ",
];
