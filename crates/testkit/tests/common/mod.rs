//! A server that follows a script.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What happens on one connection: for each pair the server reads until what comes ends with
/// the first, then sends the second. At the end it closes.
pub(crate) type Steps = Vec<(&'static str, Vec<u8>)>;

/// A server for so many connections, one after the other, and what it reads on each.
pub(crate) async fn script<const N: usize>(
    connections: [Steps; N],
) -> (SocketAddr, JoinHandle<[String; N]>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let run = async move {
        let mut tasks = Vec::new();
        for steps in connections {
            let (stream, _) = listener.accept().await.expect("a connection");
            tasks.push(tokio::spawn(follow(stream, steps)));
        }
        let mut read = [const { String::new() }; N];
        for (read, task) in read.iter_mut().zip(tasks) {
            *read = task.await.expect("no panic");
        }
        read
    };
    (addr, tokio::spawn(run))
}

async fn follow(mut stream: TcpStream, steps: Steps) -> String {
    let mut read = Vec::new();
    for (until, answer) in steps {
        let start = read.len();
        while !read[start..].ends_with(until.as_bytes()) {
            let count = stream.read_buf(&mut read).await.expect("bytes");
            assert_ne!(count, 0, "the client left");
        }
        stream.write_all(&answer).await.expect("a reader");
    }
    String::from_utf8_lossy(&read).into_owned()
}
