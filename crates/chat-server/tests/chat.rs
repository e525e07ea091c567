//! The chat as its users meet it: the program, a port, and clients on the wire.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use testkit::{RedisServer, Ws};

const PAGE: &[u8] = include_bytes!("../../../static/index.html");

/// The running program.
struct Chat {
    child: Child,
    addr: SocketAddr,
    lines: Receiver<String>,
}

impl Chat {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chat-server"))
            .args(arguments)
            .env_remove("HOST")
            .env_remove("PORT")
            .env_remove("REDIS_URL")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program was built");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            stdout
                .lines()
                .try_for_each(|line| sender.send(line.unwrap()))
        });
        let listening = lines.recv_timeout(TIME).expect("it listens");
        let port = listening.rsplit(':').next().unwrap().parse().unwrap();
        assert!(listening.starts_with("listening on "), "{listening}");
        Self {
            child,
            addr: ([127, 0, 0, 1], port).into(),
            lines,
        }
    }

    /// The next line that it prints.
    fn line(&self) -> String {
        self.lines.recv_timeout(TIME).expect("a line")
    }

    fn terminate(&mut self, signal: &str) {
        let kill = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    /// The exit code, which must come soon.
    fn exit_code(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < TIME, "it does not end");
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

const TIME: Duration = Duration::from_secs(5);

/// A client of Socket.IO 5 that has joined `/`.
async fn join(addr: SocketAddr) -> Ws {
    let mut ws = Ws::connect(addr, "/socket.io/?EIO=4&transport=websocket").await;
    assert!(ws.recv_text().await.starts_with("0{"));
    ws.text("40").await;
    assert!(ws.recv_text().await.starts_with("40{\"sid\":"));
    ws
}

#[tokio::test]
async fn the_page_is_served_as_it_is() {
    let chat = Chat::start(&["--port", "0", "--host", "127.0.0.1"], &[]);
    let page = testkit::get(chat.addr, "/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.body, PAGE);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    for path in [
        "/nothing",
        "/index.html",
        "/socket.io",
        "/socket.io/x",
        "/../Cargo.toml",
    ] {
        assert_eq!(testkit::get(chat.addr, path).await.status, 404, "{path}");
    }
    assert_eq!(
        testkit::post(chat.addr, "/", "text/plain", "x")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_message_goes_to_everyone_and_visits_are_printed() {
    let chat = Chat::start(&["--port=0"], &[]);
    let mut ann = join(chat.addr).await;
    assert_eq!(chat.line(), "a user connected");
    let mut bob = join(chat.addr).await;
    assert_eq!(chat.line(), "a user connected");
    for text in [
        r#"42["chat message","<b>é€😀</b>"]"#,
        r#"42["chat message","\ud800",1.50,[[[]]]]"#,
        r#"42["chat message"]"#,
    ] {
        ann.text(text).await;
        assert_eq!(ann.recv_text().await, text);
        assert_eq!(bob.recv_text().await, text);
    }
    drop(ann);
    assert_eq!(chat.line(), "user disconnected");
}

#[tokio::test]
async fn two_servers_with_one_redis_are_one_chat() {
    let redis = RedisServer::start();
    let url = redis.url();
    let one = Chat::start(&["--port", "0", "--redis", &url], &[]);
    let two = Chat::start(&["--port", "0"], &[("REDIS_URL", &url)]);
    let mut ann = join(one.addr).await;
    let mut bob = join(two.addr).await;
    // Both connect to Redis on their own time.
    let subscribed = || redis.command(&["pubsub", "numsub", "socket.io-request#/#"]);
    while !subscribed().trim().ends_with('2') {
        thread::sleep(Duration::from_millis(10));
    }
    for (text, from_ann) in [
        (r#"42["chat message","<b>é€😀</b>"]"#, true),
        (r#"42["chat message","from the other"]"#, false),
    ] {
        let from = if from_ann { &mut ann } else { &mut bob };
        from.text(text).await;
        assert_eq!(ann.recv_text().await, text);
        assert_eq!(bob.recv_text().await, text);
    }
}

#[test]
fn an_address_that_is_none_is_said() {
    let output = Command::new(env!("CARGO_BIN_EXE_chat-server"))
        .args(["--port", "0", "--redis", "nonsense"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--redis"));
}

#[tokio::test]
async fn a_signal_tells_the_clients_and_ends_with_0() {
    for signal in ["-TERM", "-INT"] {
        let mut chat = Chat::start(&[], &[("PORT", "0"), ("HOST", "127.0.0.1")]);
        let mut ws = join(chat.addr).await;
        assert_eq!(chat.line(), "a user connected");
        let polling = testkit::Polling::open(chat.addr, "/socket.io/", "EIO=4").await;
        chat.terminate(signal);
        assert_eq!(ws.until_closed().await, []);
        drop(polling);
        assert_eq!(chat.exit_code(), Some(0));
    }
}

#[tokio::test]
async fn files_can_be_served_from_a_folder() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../static");
    let chat = Chat::start(&["--port", "0", "--static-dir", folder], &[]);
    assert_eq!(testkit::get(chat.addr, "/").await.body, PAGE);
    assert_eq!(testkit::get(chat.addr, "/index.html").await.body, PAGE);
    assert_eq!(testkit::get(chat.addr, "/nothing").await.status, 404);
    assert_eq!(testkit::get(chat.addr, "/../Cargo.toml").await.status, 404);
    assert_eq!(
        testkit::get(chat.addr, "/%2e%2e/Cargo.toml").await.status,
        404
    );
}

#[test]
fn what_is_wrong_with_the_options_is_said() {
    let output = Command::new(env!("CARGO_BIN_EXE_chat-server"))
        .arg("--prot")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--prot"));
}
