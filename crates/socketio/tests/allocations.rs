//! How often the Socket.IO layer allocates for an event, and both layers for one over polling, and how
//! much memory a socket holds. A binary of its own: it replaces the allocator by one that counts, for each thread.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{Arc, Mutex},
    task::{Context, Waker},
};

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use engineio::{
    Acceptor, Config, Connection, Data, Handshake, Refusal, Server, SessionHandle, Sid, Version,
};
use http_body_util::{BodyExt, Full};
use hyper::service::Service;
use socketio::{Args, Client, Socket, SocketIo, handler};

/// A client that has joined, without a transport.
struct Peer {
    client: Client,
    session: SessionHandle,
}

impl Peer {
    async fn connect(io: &SocketIo) -> Self {
        let session = SessionHandle::detached(Sid::from("a"), Version::V4);
        let client = io.accept(session.clone(), handshake().await);
        let mut peer = Self { client, session };
        peer.deliver(&["0".into()]);
        assert_eq!(peer.session.take_sent().len(), 1);
        peer
    }

    fn deliver(&mut self, messages: &[Data]) {
        let cx = &mut Context::from_waker(Waker::noop());
        for message in messages {
            self.client.on_message(message.clone(), cx);
        }
        assert!(self.client.poll_progress(cx).is_ready());
    }
}

/// What the layer allocates between the arrival of an event and the queue of the one client that
/// gets something.
async fn allocations(messages: &[Data]) -> u64 {
    let io = SocketIo::new();
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("back", &args)
    });
    io.on(
        "text",
        async |socket: Socket, handler::Data(text): handler::Data<String>| {
            socket.emit("back", &text)
        },
    );
    io.on("answer", async |args: Args| args);
    io.on("nothing", async || ());
    let mut peer = Peer::connect(&io).await;
    // what is allocated once
    peer.deliver(messages);
    peer.session.take_sent();
    measure(|| peer.deliver(messages)).count_total
}

/// A message as a transport gives it: a slice of a larger buffer.
fn text(text: &str) -> Data {
    let Data::Text(text) = Data::from(text.to_owned() + " ") else {
        panic!("a text")
    };
    Data::Text(text.slice_ref(text.trim_end()))
}

const HANDLER: u64 = 1;
/// What is sent: its text, and what all recipients share.
const MESSAGE: u64 = 2;

#[tokio::test]
async fn a_handler_that_does_nothing() {
    assert_eq!(allocations(&[text(r#"2["nothing"]"#)]).await, HANDLER);
}

#[tokio::test]
async fn an_event_that_nobody_handles() {
    assert_eq!(allocations(&[text(r#"2["unknown",{"a":[{}]}]"#)]).await, 0);
}

#[tokio::test]
async fn arguments_sent_back() {
    for size in [0, 64, 1024, 65536] {
        let event = format!(r#"2["echo",{{"a":["{}"]}}]"#, "x".repeat(size));
        assert_eq!(
            allocations(&[text(&event)]).await,
            HANDLER + MESSAGE,
            "{size}"
        );
    }
}

#[tokio::test]
async fn an_argument_read_and_sent_back() {
    let event = format!(r#"2["text","{}"]"#, "x".repeat(64));
    // the text itself, and that the buffer of the message is larger than what is in it
    let expected = HANDLER + 1 + MESSAGE + 1;
    assert_eq!(allocations(&[text(&event)]).await, expected);
}

#[tokio::test]
async fn an_answer() {
    // who asked is remembered
    let expected = HANDLER + 1 + MESSAGE;
    for id in ["0", "9", "10", "18446744073709551615"] {
        let event = format!(r#"2{id}["answer","a",1]"#);
        assert_eq!(allocations(&[text(&event)]).await, expected, "{id}");
    }
}

#[tokio::test]
async fn binary_data_sent_back() {
    let event = r#"51-["echo",{"_placeholder":true,"num":0}]"#;
    // the packet while it waits, its attachment, and the attachment of the answer
    let expected = 2 + HANDLER + MESSAGE + 1;
    let bytes = Data::from(vec![0x80; 1024]);
    // in the form that can be cloned without allocating
    let _shared = bytes.clone();
    assert_eq!(allocations(&[text(event), bytes]).await, expected);
}

#[tokio::test]
async fn a_broadcast_is_made_once() {
    let io = SocketIo::new();
    let mut peers = Vec::new();
    for _ in 0..100 {
        peers.push(Peer::connect(&io).await);
    }
    let count = |io: &SocketIo, peers: &[Peer]| {
        let counted = measure(|| io.emit("news", "x").unwrap());
        let sent: usize = peers.iter().map(|it| it.session.take_sent().len()).sum();
        assert_eq!(sent, peers.len());
        counted.count_total
    };
    count(&io, &peers);
    // the buffer is larger than what is in it
    assert_eq!(count(&io, &peers), MESSAGE + 1);
}

/// Without what hyper allocates for its part of a request.
#[test]
fn an_echo_over_polling() {
    // the future of each request; what the engine answers by; of the POST the body, and its place in
    // the mailbox
    const REQUESTS: u64 = 2 + 2 + 2;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let io = SocketIo::new();
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("back", &args)
    });
    let service = io.service();
    let request = |method: http::Method, sid: &str, body: &'static str| {
        let sid = if sid.is_empty() {
            ""
        } else {
            &format!("&sid={sid}")
        };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/socket.io/?EIO=4&transport=polling{sid}"))
            .header("Host", "localhost");
        request
            .body(Full::new(Bytes::from_static(body.as_bytes())))
            .unwrap()
    };
    let get = |sid: &str| request(http::Method::GET, sid, "");
    let text = |response: http::Response<engineio::ResponseBody>| {
        let collected = runtime.block_on(response.into_body().collect());
        String::from_utf8(collected.unwrap().to_bytes().into()).unwrap()
    };
    let ask = |request| runtime.block_on(service.call(request)).unwrap();

    let open = text(ask(get("")));
    let sid = open.split('"').nth(3).unwrap();
    let post = |body| request(http::Method::POST, sid, body);
    assert_eq!(text(ask(post("40"))), "ok");
    assert!(text(ask(get(sid))).starts_with("40{"));
    let echo = || {
        let (poll, event) = (get(sid), post(r#"42["echo","x"]"#));
        let mut answers = None;
        let both = async { tokio::join!(service.call(poll), service.call(event)) };
        let counted = measure(|| answers = Some(runtime.block_on(both)));
        let (polled, posted) = answers.unwrap();
        assert_eq!(text(polled.unwrap()), r#"42["back","x"]"#);
        assert_eq!(text(posted.unwrap()), "ok");
        counted.count_total
    };
    // what is allocated once
    echo();
    assert_eq!(echo(), REQUESTS + HANDLER + MESSAGE);
}

#[tokio::test]
async fn a_socket_that_has_joined_is_small() {
    let io = SocketIo::new();
    let mut peers = Vec::with_capacity(1000);
    for _ in 0..1000 {
        peers.push(Peer::connect(&io).await);
    }
    let freed = measure(|| drop(peers));
    let AllocationInfo { bytes_current, .. } = freed;
    let bytes = -bytes_current / 1000;
    // the client, what its session shares with others, and the socket with its place in the tables
    assert!(bytes <= MOST, "{bytes} bytes");
}

const MOST: i64 = 1024;

/// The engine makes handshakes of requests only.
async fn handshake() -> Arc<Handshake> {
    struct Nobody;

    impl Acceptor for Nobody {
        type Connection = Self;
        fn accept(&self, _: SessionHandle, _: Arc<Handshake>) -> Self {
            Nobody
        }
    }

    impl Connection for Nobody {
        fn on_message(&mut self, _: Data, _: &mut Context<'_>) {}
    }

    let seen = Arc::new(Mutex::new(None));
    let slot = seen.clone();
    let config = Config::default().allow_request(move |request| {
        *slot.lock().unwrap() = Some(request);
        async { Err(Refusal::default()) }
    });
    let request = http::Request::get("/engine.io/?EIO=4&transport=polling");
    let request = request.body(String::new()).unwrap();
    Server::new(config, Nobody).handle(request).await;
    seen.lock().unwrap().take().unwrap()
}
