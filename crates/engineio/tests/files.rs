//! Files beside the engine.

mod common;

use std::{convert::Infallible, io::Read as _};

use bytes::Bytes;
use common::{App, RECORD, Running, assert_error, start};
use engineio::{Config, Cors, File, Files, Halt, Server};
use flate2::read::{GzDecoder, ZlibDecoder};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use testkit::{Response as Answer, request};
use tower_layer::Layer;
use tower_service::Service;

const URL: &str = "/engine.io/client.js";
const SCRIPT: &str = "application/javascript; charset=utf-8";

fn content() -> String {
    "export default function connect() {}\n".repeat(200)
}

fn files() -> Files {
    let map = File::new("application/json; charset=utf-8", "{}");
    Files::default()
        .add("client.js", File::new(SCRIPT, content()).version("1.2.3"))
        .add("client.js.map", map)
}

async fn serving() -> Running {
    start(Config::default().files(files())).await
}

async fn get(running: &Running, url: &str, headers: &[(&str, &str)]) -> Answer {
    request(running.addr, "GET", url, headers, "").await
}

#[tokio::test]
async fn a_file_is_served_with_its_type_and_its_version() {
    let running = serving().await;
    for url in [URL.to_owned(), format!("{URL}?v=1&transport=tobi")] {
        let response = get(&running, &url, &[]).await;
        assert_eq!((response.status, response.text()), (200, &*content()));
        assert_eq!(response.header("content-type"), Some(SCRIPT));
        assert_eq!(response.header("etag"), Some("\"1.2.3\""));
        let caching = response.header("cache-control");
        assert_eq!(caching, Some("public, max-age=0"));
        assert_eq!(response.header("vary"), Some("Accept-Encoding"));
        assert_eq!(response.header("content-encoding"), None);
    }
    let response = get(&running, "/engine.io/client.js.map", &[]).await;
    assert_eq!((response.status, response.text()), (200, "{}"));
    running.open().await;
}

#[tokio::test]
async fn a_head_request_gets_the_head_of_the_answer() {
    let running = serving().await;
    let response = request(running.addr, "HEAD", URL, &[], "").await;
    assert_eq!((response.status, response.text()), (200, ""));
    let length = content().len().to_string();
    assert_eq!(response.header("content-length"), Some(&*length));
    assert_eq!(response.header("etag"), Some("\"1.2.3\""));
}

#[tokio::test]
async fn a_version_that_the_client_has_is_not_sent_again() {
    let running = serving().await;
    for known in ["\"1.2.3\"", "W/\"1.2.3\"", "\"x\", W/\"1.2.3\"", "*"] {
        for method in ["GET", "HEAD"] {
            let headers = [("If-None-Match", known)];
            let response = request(running.addr, method, URL, &headers, "").await;
            assert_eq!((response.status, response.text()), (304, ""), "{known}");
            assert_eq!(response.header("etag"), Some("\"1.2.3\""));
            assert_eq!(response.header("content-type"), None);
        }
    }
    for other in ["\"1.2\"", "1.2.3", "w/\"1.2.3\"", ""] {
        let response = get(&running, URL, &[("If-None-Match", other)]).await;
        assert_eq!(response.status, 200, "{other}");
    }
}

#[tokio::test]
async fn without_a_version_the_content_makes_one() {
    let tags = ["a", "a", "b"].map(|content| {
        let files = Files::default().add("f", File::new("text/plain", content));
        Config::default().files(files)
    });
    let mut found = Vec::new();
    for config in tags {
        let running = start(config).await;
        let response = get(&running, "/engine.io/f", &[]).await;
        found.push(response.header("etag").expect("a tag").to_owned());
    }
    assert_eq!(found[0], found[1]);
    assert_ne!(found[0], found[2]);
}

#[tokio::test]
async fn what_no_tag_can_hold_is_replaced_in_a_version() {
    let file = File::new("text/plain", "a").version("1 \"é\"\r\n,2");
    let running = start(Config::default().files(Files::default().add("f", file))).await;
    let response = get(&running, "/engine.io/f", &[]).await;
    assert_eq!(response.header("etag"), Some("\"1-------2\""));
}

#[tokio::test]
async fn files_are_compressed_as_the_client_likes() {
    let running = serving().await;
    for _ in 0..2 {
        for (accept, coding) in [
            ("gzip, deflate, br", Some("gzip")),
            ("deflate", Some("deflate")),
            ("br", None),
            ("identity, gzip;q=0.5", None),
        ] {
            let response = get(&running, URL, &[("Accept-Encoding", accept)]).await;
            assert_eq!(response.header("content-encoding"), coding, "{accept}");
            let mut text = String::new();
            match coding {
                Some("gzip") => GzDecoder::new(&*response.body).read_to_string(&mut text),
                Some(_) => ZlibDecoder::new(&*response.body).read_to_string(&mut text),
                None => (&*response.body).read_to_string(&mut text),
            }
            .expect("a coding");
            assert_eq!(text, content());
        }
    }
    // Nothing becomes smaller than this.
    let response = get(
        &running,
        "/engine.io/client.js.map",
        &[("Accept-Encoding", "gzip")],
    )
    .await;
    assert_eq!(response.header("content-encoding"), None);
    assert_eq!(response.text(), "{}");
    let headers = [("Accept-Encoding", "gzip")];
    let head = request(running.addr, "HEAD", URL, &headers, "").await;
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    let length = get(&running, URL, &headers).await.body.len().to_string();
    assert_eq!(head.header("content-length"), Some(&*length));
}

#[tokio::test]
async fn copies_that_are_compressed_already_are_used() {
    let directory = std::env::temp_dir().join(format!("engineio-files-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("client.js");
    for (ending, content) in [("", "plain"), (".br", "brotli"), (".gz", "gzip")] {
        let mut name = path.clone().into_os_string();
        name.push(ending);
        std::fs::write(name, content).expect("a file");
    }
    let file = File::read(SCRIPT, &path);
    std::fs::remove_dir_all(&directory).expect("a directory");
    let files = Files::default().add("client.js", file.expect("a file"));
    let running = start(Config::default().files(files)).await;
    for (accept, content) in [
        ("gzip, deflate, br", "brotli"),
        ("gzip, br;q=0.9", "gzip"),
        ("gzip", "gzip"),
        ("identity", "plain"),
    ] {
        let response = get(&running, URL, &[("Accept-Encoding", accept)]).await;
        assert_eq!(response.text(), content, "{accept}");
    }
    assert!(File::read(SCRIPT, &path).is_err());
}

#[tokio::test]
async fn other_names_below_the_path_are_no_transport() {
    let running = serving().await;
    for url in [
        "/engine.io/other.js",
        "/engine.io/client.js/",
        "/engine.io/client.js.map.map",
        "/engine.io/Client.js",
        "/engine.io/../engine.io/client.js",
        "/engine.io//client.js",
        "/engine.io/%63lient.js",
    ] {
        let response = get(&running, url, &[]).await;
        assert_error(&response, 400, 0, "Transport unknown");
    }
    for url in [
        "/client.js",
        "/engine.ioclient.js",
        "/engine.io",
        "/x/engine.io/client.js",
    ] {
        assert_eq!(get(&running, url, &[]).await.status, 404, "{url}");
    }
    let without = start(Config::default()).await;
    assert_eq!(get(&without, URL, &[]).await.status, 404);
}

#[tokio::test]
async fn the_path_of_a_file_ends_with_a_slash_in_any_case() {
    let config = Config::default().path("/a/b").add_trailing_slash(false);
    let running = start(config.files(files())).await;
    assert_eq!(get(&running, "/a/b/client.js", &[]).await.status, 200);
    let running = start(Config::default().path("/").files(files())).await;
    assert_eq!(get(&running, "/client.js", &[]).await.status, 200);
}

#[tokio::test]
async fn files_are_only_read() {
    let running = serving().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let response = request(running.addr, method, URL, &[], "").await;
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.header("allow"), Some("GET, HEAD"));
    }
}

#[tokio::test]
async fn cors_holds_for_files_and_middlewares_do_not_see_them() {
    let config = Config::default()
        .cors(Cors::reflect())
        .files(files())
        .middleware(async |_| Err(Halt::refuse("no")))
        .on_headers(|headers, _| {
            headers.insert("x-engine", HeaderValue::from_static("1"));
        });
    let running = start(config).await;
    let origin = ("Origin", "http://page.example");
    for known in [origin, ("If-None-Match", "\"1.2.3\"")] {
        let response = get(&running, URL, &[origin, known]).await;
        assert!(matches!(response.status, 200 | 304), "{response:?}");
        let allowed = response.header("access-control-allow-origin");
        assert_eq!(allowed, Some("http://page.example"));
        assert_eq!(response.header("vary"), Some("Accept-Encoding, Origin"));
        assert_eq!(response.header("x-engine"), None);
    }
    let response = request(running.addr, "OPTIONS", URL, &[origin], "").await;
    assert_eq!(response.status, 204);
    assert_error(
        &get(&running, "/engine.io/", &[]).await,
        400,
        3,
        "Bad request",
    );
}

/// Answers everything with 418.
#[derive(Clone)]
struct Teapot;

impl Service<Request<Full<Bytes>>> for Teapot {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        std::future::ready(Ok(response))
    }
}

#[tokio::test]
async fn a_layer_serves_the_files_and_passes_on_other_names() {
    let server = Server::new(Config::default().files(files()), App::new(RECORD));
    let mut service = server.layer().layer(Teapot);
    for (url, status) in [
        (URL, 200),
        ("/engine.io/other.js", 418),
        ("/engine.io/", 400),
    ] {
        let request = Request::get(url).body(Full::<Bytes>::default());
        let request = request.expect("a request");
        assert_eq!(server.is_for(&request), status != 418);
        let response = service.call(request).await.expect("infallible");
        assert_eq!(response.status(), status, "{url}");
    }
}
