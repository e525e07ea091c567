//! What an application does with requests before the engine looks at them, and CORS by request.

mod common;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use common::{App, RECORD, assert_error, refuse_ws, start};
use engineio::{Config, ConnectionErrorKind as Kind, Cookie, Cors, Exchange, Halt, Server};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use testkit::{Http, Upgrade, Ws};
use tower_layer::Layer;
use tower_service::Service;

const URL: &str = "/engine.io/?EIO=4&transport=polling";
const WS_URL: &str = "/engine.io/?EIO=4&transport=websocket";
const ORIGIN: (&str, &str) = ("Origin", "http://page.example");

/// A middleware that adds a header.
fn adds(
    name: &'static str,
    value: &'static str,
) -> impl Fn(Exchange) -> std::future::Ready<Result<Exchange, Halt>> + Send + Sync + 'static {
    move |mut exchange| {
        let value = HeaderValue::from_static(value);
        exchange.response_headers.append(name, value);
        std::future::ready(Ok(exchange))
    }
}

fn unavailable() -> Halt {
    let mut response = Response::new("later");
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let after = HeaderValue::from_static("7");
    response.headers_mut().insert(header::RETRY_AFTER, after);
    Halt::answer(response)
}

#[tokio::test]
async fn a_middleware_sees_every_request_and_adds_headers_to_every_response() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    let config = Config::default()
        .max_payload(10)
        .middleware(move |exchange| {
            seen.fetch_add(1, Ordering::Relaxed);
            async { Ok(exchange) }
        })
        .middleware(adds("x-mine", "yes"));
    let running = start(config).await;
    let mut session = running.open().await;
    let responses = [
        (session.opened.clone(), 200),
        (session.post("4hello").await, 200),
        (session.poll().await, 200),
        (session.post("4more than ten").await, 413),
        (session.post("nonsense").await, 400),
        (session.poll().await, 400),
        (testkit::get(running.addr, "/engine.io/").await, 400),
        (testkit::get(running.addr, WS_URL).await, 400),
        (
            Ws::connect(running.addr, WS_URL).await.response().clone(),
            101,
        ),
    ];
    for (response, status) in &responses {
        assert_eq!(response.status, *status, "{response:?}");
        assert_eq!(response.header("x-mine"), Some("yes"), "{response:?}");
    }
    let session = running.open().await;
    let upgrade = Upgrade::connect(&session).await;
    assert_eq!(upgrade.ws.response().header("x-mine"), Some("yes"));
    assert_eq!(count.load(Ordering::Relaxed), responses.len() + 2);
    let elsewhere = testkit::get(running.addr, "/elsewhere").await;
    assert_eq!(elsewhere.header("x-mine"), None);
}

#[tokio::test]
async fn middlewares_run_in_the_order_in_which_they_were_added() {
    let config = Config::default()
        .middleware(adds("x-step", "1"))
        .middleware(async |mut exchange| {
            tokio::task::yield_now().await;
            let steps = exchange.response_headers.get_all("x-step").iter().count();
            let next = HeaderValue::from(steps + 1);
            exchange.response_headers.append("x-step", next);
            Ok(exchange)
        })
        .middleware(adds("x-step", "3"));
    let running = start(config).await;
    for response in [
        testkit::get(running.addr, URL).await,
        Ws::connect(running.addr, WS_URL).await.response().clone(),
    ] {
        let steps: Vec<_> = response.header_values("x-step").collect();
        assert_eq!(steps, ["1", "2", "3"]);
    }
}

#[tokio::test]
async fn a_middleware_can_answer_in_place_of_the_engine() {
    let later = Arc::new(AtomicUsize::new(0));
    let count = later.clone();
    let config = Config::default()
        .cors(Cors::any())
        .middleware(adds("x-mine", "yes"))
        .middleware(async |mut exchange| {
            if exchange.request.headers.contains_key("x-refuse") {
                let lost = HeaderValue::from_static("lost");
                exchange.response_headers.insert("x-lost", lost);
                return Err(unavailable());
            }
            Ok(exchange)
        })
        .middleware(move |exchange| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok(exchange) }
        })
        .on_headers(|headers, _| {
            headers.insert("x-engine", HeaderValue::from_static("1"));
        });
    let running = start(config).await;
    let refuse = [("X-Refuse", "1")];
    for response in [
        testkit::request(running.addr, "GET", URL, &refuse, "").await,
        testkit::request(running.addr, "POST", URL, &refuse, "4hello").await,
        refuse_ws(running.addr, WS_URL, &refuse).await,
    ] {
        assert_eq!((response.status, response.text()), (503, "later"));
        assert_eq!(response.header("retry-after"), Some("7"));
        assert_eq!(response.header("x-mine"), Some("yes"));
        assert_eq!(response.header("x-lost"), None);
        assert_eq!(response.header("x-engine"), None);
        let origin = response.header("access-control-allow-origin");
        assert_eq!(origin, Some("*"));
    }
    assert_eq!(running.server.sessions(), 0);
    assert_eq!(later.load(Ordering::Relaxed), 0);
    running.open().await;
    running.ws().await;
    assert_eq!(later.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_connection_can_be_used_on_after_a_middleware_has_answered() {
    let config = Config::default().middleware(async |exchange| {
        match exchange.request.headers.contains_key("x-refuse") {
            true => Err(unavailable()),
            false => Ok(exchange),
        }
    });
    let running = start(config).await;
    let mut http = Http::connect(running.addr).await;
    let long = "x".repeat(300_000);
    let response = http.request("POST", URL, &[("X-Refuse", "1")], &long).await;
    assert_eq!(response.status, 503);
    assert_eq!(http.get(URL).await.status, 200);
}

#[tokio::test]
async fn a_middleware_that_fails_refuses_the_request() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let errors = told.clone();
    let config = Config::default()
        .middleware(adds("x-mine", "yes"))
        .middleware(async |_| Err(Halt::refuse("the database is away")))
        .on_connection_error(move |error| errors.lock().unwrap().push(error.kind.clone()));
    let running = start(config).await;
    for response in [
        testkit::get(running.addr, URL).await,
        testkit::get(running.addr, "/engine.io/?sid=unknown").await,
        refuse_ws(running.addr, WS_URL, &[]).await,
    ] {
        assert_error(&response, 400, 3, "Bad request");
        assert_eq!(response.header("x-mine"), Some("yes"));
    }
    let expected = Kind::Middleware("the database is away".to_owned());
    let told = told.lock().unwrap();
    assert_eq!(*told, [expected.clone(), expected.clone(), expected]);
    assert_eq!(running.server.sessions(), 0);
}

#[tokio::test]
async fn what_a_middleware_finds_out_stays_with_the_session() {
    #[derive(Clone, Debug, PartialEq)]
    struct User(String);

    let config = Config::default()
        .middleware(async |mut exchange| {
            if let Some(token) = exchange.request.headers.remove("x-token") {
                let name = format!("user of {}", token.to_str().unwrap_or_default());
                exchange.extensions.insert(User(name));
            }
            Ok(exchange)
        })
        .allow_request(async |handshake| {
            assert!(handshake.extensions().get::<User>().is_some());
            Ok(())
        });
    let running = start(config).await;
    let headers = [("X-Token", "abc")];
    let response = testkit::request(running.addr, "GET", URL, &headers, "").await;
    let polling = testkit::Open::parse(&response.body);
    let ws = Ws::connect_with_headers(running.addr, WS_URL, &headers).await;
    let open = ws.expect("a 101").recv_text().await;
    let ws = testkit::Open::parse(open.as_bytes());
    for open in [polling, ws] {
        let handshake = running.seen(&open.sid).await.handshake;
        let user = handshake.extensions().get::<User>().cloned();
        assert_eq!(user, Some(User("user of abc".to_owned())));
        assert_eq!(handshake.header("x-token"), None);
    }
}

#[tokio::test]
async fn cookies_of_a_middleware_stand_beside_the_servers_own() {
    let config = Config::default()
        .cookie(Cookie::default())
        .middleware(adds("set-cookie", "mine=1"))
        .middleware(adds("set-cookie", "too=2"));
    let running = start(config).await;
    let mut session = running.open().await;
    let own = format!("io={}; Path=/; HttpOnly; SameSite=Lax", session.sid());
    let cookies: Vec<_> = session.opened.header_values("set-cookie").collect();
    assert_eq!(cookies, [&*own, "mine=1", "too=2"]);
    let post = session.post("4hello").await;
    let cookies: Vec<_> = post.header_values("set-cookie").collect();
    assert_eq!(cookies, ["mine=1", "too=2"]);
}

#[tokio::test]
async fn a_preflight_is_answered_before_the_middlewares() {
    let config = Config::default()
        .cors(Cors::any())
        .middleware(async |_| Err(unavailable()));
    let running = start(config).await;
    let response = testkit::request(running.addr, "OPTIONS", URL, &[ORIGIN], "").await;
    assert_eq!(response.status, 204);
    let config = Config::default()
        .cors(Cors::any().preflight_continue(true))
        .middleware(async |_| Err(unavailable()));
    let running = start(config).await;
    let response = testkit::request(running.addr, "OPTIONS", URL, &[ORIGIN], "").await;
    assert_eq!(response.status, 503);
}

fn cors_by_request() -> Config {
    Config::default().cors_with(|request| {
        let origin = request.headers.get(header::ORIGIN).cloned();
        async move {
            tokio::task::yield_now().await;
            match origin {
                Some(origin) if origin == "http://fails.example" => Err("who is that?"),
                Some(origin) if origin == ORIGIN.1 => {
                    Ok(Some(Cors::exact(origin).credentials(true)))
                }
                _ => Ok(None),
            }
        }
    })
}

#[tokio::test]
async fn cors_can_be_chosen_for_each_request() {
    let running = start(cors_by_request()).await;
    let response = testkit::request(running.addr, "GET", URL, &[ORIGIN], "").await;
    let ws = Ws::connect_with_headers(running.addr, WS_URL, &[ORIGIN]).await;
    for response in [response, ws.expect("a 101").response().clone()] {
        let header = |name| response.header(name);
        assert_eq!(header("access-control-allow-origin"), Some(ORIGIN.1));
        assert_eq!(header("access-control-allow-credentials"), Some("true"));
        assert_eq!(header("vary"), Some("Origin"));
    }
    let response = testkit::request(running.addr, "OPTIONS", URL, &[ORIGIN], "").await;
    assert_eq!(response.status, 204);

    let stranger = [("Origin", "http://stranger.example")];
    let response = testkit::request(running.addr, "GET", URL, &stranger, "").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("access-control-allow-origin"), None);
    assert_eq!(response.header("vary"), None);
    let response = testkit::request(running.addr, "OPTIONS", URL, &stranger, "").await;
    assert_error(&response, 400, 2, "Bad handshake method");
}

#[tokio::test]
async fn a_choice_of_cors_that_fails_refuses_the_request() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let errors = told.clone();
    let config = cors_by_request()
        .on_connection_error(move |error| errors.lock().unwrap().push(error.kind.clone()));
    let running = start(config).await;
    let origin = [("Origin", "http://fails.example")];
    for method in ["GET", "OPTIONS"] {
        let response = testkit::request(running.addr, method, URL, &origin, "").await;
        assert_error(&response, 400, 3, "Bad request");
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
    let response = refuse_ws(running.addr, WS_URL, &origin).await;
    assert_error(&response, 400, 3, "Bad request");
    let expected = Kind::Middleware("who is that?".to_owned());
    assert!(told.lock().unwrap().iter().all(|it| *it == expected));
    assert_eq!(told.lock().unwrap().len(), 3);
}

/// A tower layer as an application would write it: answers some requests itself, and adds a header
/// to the responses of the others.
#[derive(Clone)]
struct Stamp<S>(S);

struct StampLayer;

impl<S> Layer<S> for StampLayer {
    type Service = Stamp<S>;

    fn layer(&self, inner: S) -> Stamp<S> {
        Stamp(inner)
    }
}

impl<S> Service<Request<Empty<Bytes>>> for Stamp<S>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<engineio::ResponseBody>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        if request.headers().contains_key("x-refuse") {
            let mut response = Response::new(engineio::ResponseBody::from("no"));
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            return Box::pin(async { Ok(response) });
        }
        let response = self.0.call(request);
        Box::pin(async {
            let mut response = response.await?;
            let stamp = HeaderValue::from_static("yes");
            response.headers_mut().insert("x-stamp", stamp);
            Ok(response)
        })
    }
}

#[tokio::test]
async fn a_tower_layer_around_the_service_is_the_other_way() {
    let server = Server::new(Config::default(), App::new(RECORD));
    let mut service = StampLayer.layer(server.clone());
    let request = || Request::get(URL);
    let call = async |service: &mut Stamp<Server<App>>, request: http::request::Builder| {
        let request = request.body(Empty::new()).expect("a request");
        let response = service.call(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.expect("a body").to_bytes())
    };
    let (parts, body) = call(&mut service, request()).await;
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(parts.headers["x-stamp"], "yes");
    assert!(body.starts_with(b"0{"));
    let (parts, body) = call(&mut service, request().header("x-refuse", "1")).await;
    assert_eq!(parts.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(body, "no");
    assert_eq!(server.sessions(), 1);
}
