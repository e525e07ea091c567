//! What goes on while the server is watched.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use testkit::{Http, Rng, Ws};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    application::timer,
    client::{Client, Heard, WAYS, Way},
    clients::CYCLES,
    tally::{TALLY, add},
    times::Times,
};

/// Everybody, until they are told to leave.
pub struct Load {
    everybody: JoinSet<()>,
    start: Start,
    leave: watch::Sender<bool>,
    cut: watch::Sender<u64>,
}

/// What each of them is given.
#[derive(Clone)]
struct Start {
    addr: SocketAddr,
    times: Times,
    leaving: watch::Receiver<bool>,
    cut: watch::Receiver<u64>,
}

/// Of each way and version there are so many that stay.
const STEADY: usize = 3;

/// Clients that come and go, in a second.
const CHURN: u32 = 15;

impl Load {
    pub fn start(port: u16, times: Times) -> Self {
        let (leave, leaving) = watch::channel(false);
        let (cut, cuts) = watch::channel(0);
        let start = Start {
            addr: (Ipv4Addr::LOCALHOST, port).into(),
            times,
            leaving,
            cut: cuts,
        };
        let mut load = Self {
            everybody: JoinSet::new(),
            start,
            leave,
            cut,
        };
        for way in WAYS {
            for version in [4, 3] {
                for _ in 0..STEADY {
                    load.add(steady(load.start.clone(), way, version));
                }
            }
        }
        for number in 0..times.storm_clients {
            load.add(storm(load.start.clone(), number));
        }
        load.add(churn(load.start.clone()));
        load.add(silence(load.start.clone()));
        load.add(hostility(load.start.clone()));
        load
    }

    /// Cuts everybody in `/storm` off at once. They come back.
    pub fn storm(&mut self) {
        self.cut.send_modify(|it| *it += 1);
        self.add(flood(self.start.clone()));
    }

    /// Returns when they have left.
    pub async fn leave(mut self) {
        self.leave.send_replace(true);
        while self.everybody.join_next().await.is_some() {}
    }

    fn add(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.everybody.spawn(guarded(task));
    }
}

/// One that panics has failed. The others go on.
async fn guarded(task: impl Future<Output = ()> + Send + 'static) {
    if tokio::spawn(task).await.is_err() {
        add(&TALLY.failed, 1);
    }
}

/// Says something again and again.
async fn steady(start: Start, way: Way, version: u8) {
    let mut client = Client::join(start.addr, way, version, "/talk", None).await;
    while !start.leaves() {
        client.talk(5).await;
        client.check().await;
        sleep(Duration::from_millis(500)).await;
    }
    client.leave().await;
}

/// Hears something again and again, is cut off and comes back; every second one to what it had.
async fn storm(mut start: Start, number: usize) {
    let way = match number % 10 {
        0 => Way::Polling,
        1 | 2 => Way::Upgrade,
        _ => Way::WebSocket,
    };
    let recovers = number % 2 == 1;
    let mut rng = Rng::new(number as u64);
    let mut before = None;
    sleep(rng.up_to(start.times.arrival())).await;
    loop {
        let mut client = Client::join(start.addr, way, 4, "/storm", before).await;
        let mut heard = 0;
        loop {
            tokio::select! {
                _ = start.cut.changed() => break,
                _ = client.next() => heard += 1,
            }
            // The first time at once, as something may have been missed.
            if heard % 10 == 1 {
                client.check().await;
            }
            if start.leaves() {
                client.check().await;
                return client.leave().await;
            }
        }
        before = recovers.then(|| client.identity.clone());
        drop(client);
        let moment = Duration::from_millis(200);
        sleep(moment + rng.up_to(start.times.storm_lasts)).await;
    }
}

/// Clients come and go in every way.
async fn churn(start: Start) {
    let mut clients = JoinSet::new();
    let mut timer = timer(Duration::from_secs(1) / CHURN);
    let mut number = 0;
    while !start.leaves() {
        timer.tick().await;
        let (_, cycle) = CYCLES[number % CYCLES.len()];
        clients.spawn(guarded(cycle(start.addr, number)));
        add(&TALLY.came, 1);
        number += 1;
        while clients.try_join_next().is_some() {}
    }
    clients.join_all().await;
}

/// Clients vanish: they say nothing more and read nothing more, and their connections stay.
async fn silence(start: Start) {
    let mut clients = JoinSet::new();
    let mut timer = timer(Duration::from_secs(1));
    while !start.leaves() {
        timer.tick().await;
        clients.spawn(guarded(async move {
            let mut client = Client::join(start.addr, Way::WebSocket, 4, "/talk", None).await;
            sleep(start.times.heartbeat() + Duration::from_secs(2)).await;
            client.ws().wire().rest().await;
        }));
        while clients.try_join_next().is_some() {}
    }
    clients.join_all().await;
}

/// Clients that are none.
async fn hostility(start: Start) {
    let mut clients = JoinSet::new();
    let mut timer = timer(Duration::from_millis(500));
    let addr = start.addr;
    for number in 0_u64.. {
        timer.tick().await;
        if start.leaves() {
            break;
        }
        let mut rng = Rng::new(number);
        clients.spawn(guarded(async move {
            match number % 8 {
                0 => junk(addr, &rng.bytes(2000)).await,
                1 => half_a_request(addr, start.times.heartbeat()).await,
                2 => junk_in_websocket(addr, &rng.bytes(2000)).await,
                3 => {
                    let mut ws = websocket(addr).await;
                    ws.text(&format!("4{}", rng.next_u64())).await;
                    ws.wire().rest().await;
                }
                4 => wrong_sid(addr, &format!("{:020x}", rng.next_u64())).await,
                5 => too_large_for_polling(addr).await,
                6 => too_large_for_websocket(addr).await,
                _ => large(addr).await,
            }
        }));
        add(&TALLY.came, 1);
        while clients.try_join_next().is_some() {}
    }
    clients.join_all().await;
}

async fn junk(addr: SocketAddr, bytes: &[u8]) {
    let mut http = Http::connect(addr).await;
    http.set_limit(PATIENCE);
    http.send(bytes).await;
    http.wire().rest().await;
}

/// Waits until the server has had enough of it, or this long.
async fn half_a_request(addr: SocketAddr, limit: Duration) {
    let mut http = Http::connect(addr).await;
    http.set_limit(PATIENCE);
    http.send("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHo")
        .await;
    let _ = timeout(limit, http.wire().rest()).await;
}

async fn junk_in_websocket(addr: SocketAddr, bytes: &[u8]) {
    let mut ws = websocket(addr).await;
    ws.text("40/talk").await;
    ws.raw(bytes).await;
    ws.wire().rest().await;
}

async fn wrong_sid(addr: SocketAddr, sid: &str) {
    let url = |transport| format!("/socket.io/?EIO=4&transport={transport}&sid={sid}");
    let mut http = Http::connect(addr).await;
    let polled = http.get(&url("polling")).await;
    assert_eq!(polled.status, 400, "{polled:?}");
    let posted = http.post(&url("polling"), "text/plain", "40").await;
    assert_eq!(posted.status, 400, "{posted:?}");
    let upgraded = Ws::connect_with_headers(addr, &url("websocket"), &[]).await;
    assert_eq!(upgraded.map(|_| ()).map_err(|it| it.status), Err(400));
}

async fn too_large_for_polling(addr: SocketAddr) {
    let mut session = testkit::Polling::open(addr, "/socket.io/", "EIO=4").await;
    let response = session.post(&"4".repeat(1_500_000)).await;
    assert_eq!(response.status, 413, "{response:?}");
    session.post_ok("1").await;
}

async fn too_large_for_websocket(addr: SocketAddr) {
    let mut ws = websocket(addr).await;
    ws.text("40/talk").await;
    ws.text(&"4".repeat(1_500_000)).await;
    ws.wire().rest().await;
}

/// As large as it may be.
async fn large(addr: SocketAddr) {
    let mut client = Client::join(addr, Way::WebSocket, 4, "/talk", None).await;
    let text = "x".repeat(900_000);
    let ack = client.ask(&format!(r#"["echo","{text}"]"#)).await;
    assert_eq!(ack, [text], "a large text");
    client.leave().await;
}

async fn websocket(addr: SocketAddr) -> Ws {
    let mut ws = Ws::connect(addr, "/socket.io/?EIO=4&transport=websocket").await;
    ws.set_limit(PATIENCE);
    ws
}

/// Some read nothing while much is sent to everybody, and one reads it all.
async fn flood(start: Start) {
    let moment = Duration::from_secs(1);
    sleep(start.times.storm_lasts + moment).await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let client = Client::join(start.addr, Way::WebSocket, 4, "/flood", None).await;
        slow.push(client);
    }
    let mut good = Client::join(start.addr, Way::WebSocket, 4, "/flood", None).await;
    let padding = "x".repeat(32_000);
    for number in 1..=FLOOD {
        let shout = format!(r#"42/flood,["shout",{number},"{padding}"]"#);
        good.send(&shout).await;
        loop {
            if let Heard::Event(name, args) = good.next().await
                && name == "shouted"
            {
                add(&TALLY.checked, 1);
                assert_eq!(args[0], number, "shouted");
                break;
            }
        }
    }
    good.leave().await;
    for mut client in slow {
        client.ws().wire().rest().await;
    }
}

/// More than the server keeps for one client, and the system on both sides.
const FLOOD: u64 = 1500;

/// Longer than the server's longest time limit.
const PATIENCE: Duration = Duration::from_secs(90);

impl Start {
    fn leaves(&self) -> bool {
        *self.leaving.borrow()
    }
}
