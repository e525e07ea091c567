//! What happens to the program from outside: no descriptors left, told to end under load.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use testkit::{Message, Ws};
use tokio::net::TcpStream;

/// The running program, with so many descriptors.
struct Chat {
    child: Child,
    addr: SocketAddr,
}

impl Chat {
    fn start(descriptors: usize) -> Self {
        let limit = format!("ulimit -n {descriptors}; exec \"$0\" --port 0 --host 127.0.0.1");
        let mut child = Command::new("sh")
            .args(["-c", &limit, env!("CARGO_BIN_EXE_chat-server")])
            .env_remove("REDIS_URL")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = lines.next().expect("it listens").unwrap();
        let port = listening.rsplit(':').next().unwrap().parse().unwrap();
        // It must not wait for somebody who reads.
        thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            addr: ([127, 0, 0, 1], port).into(),
        }
    }

    /// The processor time that it has used.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields = stat.rsplit(") ").next().unwrap().split(' ');
        let ticks = fields.skip(11).take(2).map(|it| it.parse::<u64>().unwrap());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    fn terminate(&self) {
        let id = self.child.id().to_string();
        let kill = Command::new("kill").args(["-TERM", &id]).status();
        assert!(kill.unwrap().success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begin.elapsed() < TIME, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that has joined.
async fn join(addr: SocketAddr) -> Ws {
    let mut ws = Ws::connect(addr, "/socket.io/?EIO=4&transport=websocket").await;
    ws.set_limit(TIME);
    ws.recv_text().await;
    ws.text("40").await;
    ws.recv_text().await;
    ws
}

async fn chat(ws: &mut Ws, n: usize) {
    let event = format!(r#"42["chat message","{n}"]"#);
    ws.text(&event).await;
    assert_eq!(ws.recv_text().await, event);
}

#[tokio::test]
async fn out_of_descriptors_and_back() {
    let mut server = Chat::start(40);
    let mut bystander = join(server.addr).await;
    // The kernel accepts them, the program cannot.
    let mut greedy = Vec::new();
    for _ in 0..100 {
        greedy.push(TcpStream::connect(server.addr).await.unwrap());
    }
    let before = server.cpu();
    let begin = Instant::now();
    for n in 0..50 {
        chat(&mut bystander, n).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It waits, and does not try again and again.
    let (used, passed) = (server.cpu() - before, begin.elapsed());
    assert!(used < passed / 2, "{used:?} in {passed:?}");
    println!("| no descriptors left | 100 | {used:?} CPU in {passed:?} | 0 of 50 |");
    drop(greedy);
    chat(&mut bystander, 50).await;
    let mut late = join(server.addr).await;
    late.text(r#"42["chat message","late"]"#).await;
    assert_eq!(bystander.recv_text().await, r#"42["chat message","late"]"#);
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

/// Each client gets an unbroken start of what it sent, and is told when it is over: what it has no
/// echo for, it knows was not taken.
#[tokio::test]
async fn a_signal_under_load_loses_no_answer() {
    let mut server = Chat::start(200);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(join(server.addr).await);
    }
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(client, mut ws)| {
            tokio::spawn(async move {
                let mut seen = vec![0; 10];
                let mut sent = 0;
                loop {
                    ws.text(&format!(r#"42["chat message","{client} {sent}"]"#))
                        .await;
                    sent += 1;
                    // Until its own comes back, what the others say comes, too.
                    loop {
                        let text = match ws.recv().await {
                            Message::Text(text) => text,
                            Message::Close(_) => return (sent, seen),
                            other => panic!("ended without a word: {other:?}"),
                        };
                        if text == "41" {
                            continue;
                        }
                        let said = text.strip_prefix(r#"42["chat message",""#).unwrap();
                        let said = said.strip_suffix(r#""]"#).unwrap();
                        let (from, n) = said.split_once(' ').unwrap();
                        let from: usize = from.parse().unwrap();
                        assert_eq!(n.parse(), Ok(seen[from]), "from {from}");
                        seen[from] += 1;
                        if from == client {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.terminate();
    let mut all = Vec::new();
    for task in tasks {
        let (sent, seen) = task.await.expect("a client that was told");
        all.push((sent, seen));
    }
    assert_eq!(server.exit_code(), Some(0));
    let messages: usize = all.iter().map(|(sent, _)| sent).sum();
    for (client, (sent, seen)) in all.iter().enumerate() {
        // The last one may have come too late to be taken.
        assert!(sent - seen[client] <= 1, "{sent} {seen:?}");
    }
    println!("| SIGTERM under load | {messages} messages of 10 clients | all told, 0 lost |");
}

const TIME: Duration = Duration::from_secs(15);
