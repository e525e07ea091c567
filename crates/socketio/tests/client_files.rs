//! The JavaScript client, handed out by the server.

mod common;

use std::{fs, io, path::PathBuf};

use common::Running;
use socketio::SocketIo;

/// A package of the client in a directory of its own, removed when dropped.
struct Package(PathBuf);

impl Package {
    fn new(name: &str, files: &[&str]) -> Self {
        let name = format!("socketio-client-{name}-{}", std::process::id());
        let package = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(package.dist()).expect("a directory");
        for file in files {
            fs::write(package.dist().join(file), format!("// {file}")).expect("a file");
        }
        package
    }

    fn dist(&self) -> PathBuf {
        self.0.join("dist")
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

#[tokio::test]
async fn the_eight_official_files_are_served_with_the_version_of_the_package() {
    let package = Package::new("whole", &NAMES);
    fs::write(package.dist().join("secret.txt"), "no").expect("a file");
    let description = r#"{ "name": "socket.io-client", "version": "4.8.3" }"#;
    fs::write(package.0.join("package.json"), description).expect("a file");
    let builder = SocketIo::builder().serve_client(package.dist());
    let running = Running::start(builder.expect("the client").build()).await;
    for name in NAMES {
        let response = testkit::get(running.addr, &format!("/socket.io/{name}?v=1")).await;
        assert_eq!(
            (response.status, response.text()),
            (200, &*format!("// {name}"))
        );
        assert_eq!(response.header("etag"), Some("\"4.8.3\""));
        let content_type = match name.ends_with(".map") {
            true => "application/json; charset=utf-8",
            false => "application/javascript; charset=utf-8",
        };
        assert_eq!(response.header("content-type"), Some(content_type));
    }
    let response = testkit::get(running.addr, "/socket.io/secret.txt").await;
    assert_eq!(
        (response.status, response.json()["code"].as_u64()),
        (400, Some(0))
    );
    running.polling_as().await;
}

#[tokio::test]
async fn a_part_of_the_files_and_no_version_will_do() {
    let package = Package::new("part", &["socket.io.js"]);
    let builder = SocketIo::builder().serve_client(package.dist());
    let io = builder.expect("the client").engine(|it| it.path("/live"));
    let running = Running::start(io.build()).await;
    let response = testkit::get(running.addr, "/live/socket.io.js").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("etag").map(str::len), Some(18));
    let response = testkit::get(running.addr, "/live/socket.io.min.js").await;
    assert_eq!(response.status, 400);
}

#[tokio::test]
async fn the_client_is_not_served_unless_it_is_asked_for() {
    let running = Running::start(SocketIo::new()).await;
    let response = testkit::get(running.addr, "/socket.io/socket.io.js").await;
    assert_eq!(response.status, 404);
}

#[test]
fn a_directory_without_the_client_says_what_to_do() {
    let package = Package::new("empty", &[]);
    for directory in [package.dist(), package.0.join("nowhere")] {
        let error = SocketIo::builder()
            .serve_client(&directory)
            .expect_err("nothing");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let text = error.to_string();
        assert!(text.contains(&*directory.to_string_lossy()), "{text}");
        assert!(text.contains("npm install socket.io-client"), "{text}");
    }
}
