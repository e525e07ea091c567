//! A client that measures how long the server takes to answer, in a process of its own: what else
//! goes on among the clients does not delay it.

use std::{
    io::{self, BufRead as _},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::{
    application::timer,
    client::{Client, Way},
    tally::{Sums, TALLY},
};

const EVERY: Duration = Duration::from_millis(50);

/// Asks until its standard input ends. Each line there is answered with the [`Latency`] since the
/// last one and the tally so far, and so is the end.
pub async fn run(port: u16) {
    let addr = (Ipv4Addr::LOCALHOST, port).into();
    let mut client = Client::join(addr, Way::WebSocket, 4, "/talk", None).await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let (end, mut ended) = tokio::sync::oneshot::channel::<()>();
    let measured = times.clone();
    let say = move || {
        let times = std::mem::take(&mut *measured.lock().expect("no panic"));
        let Latency { p50, p99, max } = Latency::of(times);
        let sums = TALLY.sums().map(|it| it.to_string()).join(" ");
        println!("{p50} {p99} {max} {sums}");
    };
    let answer = say.clone();
    thread::spawn(move || {
        for _ in io::stdin().lock().lines() {
            answer();
        }
        drop(end);
    });
    let mut timer = timer(EVERY);
    while ended.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
        timer.tick().await;
        let start = Instant::now();
        client.talk(1).await;
        times
            .lock()
            .expect("no panic")
            .push(start.elapsed().as_micros() as u64);
    }
    client.leave().await;
    say();
}

/// Microseconds.
#[derive(Clone, Copy, Default)]
pub struct Latency {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl Latency {
    fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            times.get(index).copied().unwrap_or(0)
        };
        Self {
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }

    pub fn parse(line: &str) -> Option<(Self, Sums)> {
        let numbers: Option<Vec<u64>> = line.split(' ').map(|it| it.parse().ok()).collect();
        let numbers = numbers?;
        let (&[p50, p99, max], sums) = numbers.split_first_chunk()?;
        Some((Self { p50, p99, max }, sums.try_into().ok()?))
    }
}
