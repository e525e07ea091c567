//! What the error hook is told.

use super::peer::{Log, Peer, server};
use crate::{
    ArgsError, BoxError, HandlerError,
    handler::{Data, State},
};

#[tokio::test]
async fn arguments_of_another_shape_answer_the_client_and_are_reported_with_everything() {
    let (io, log) = server();
    let told = log.clone();
    io.on_error(move |report| {
        let HandlerError::Extract(cause) = report.error() else {
            panic!("{report}");
        };
        assert!(cause.is::<ArgsError>(), "{cause:?}");
        let namespace = report.namespace().unwrap().name();
        let event = report.event().unwrap();
        told.push(format!(
            "{namespace} {event} {}",
            report.socket().unwrap().id()
        ));
    });
    io.of("/other")
        .on("n", async |Data(_): Data<u8>, State(log): State<Log>| {
            log.push("called");
        });
    let mut peer = Peer::open(&io).await;
    let id = peer.join("/other");
    peer.send(r#"2/other,7["n","x"]"#);
    let text = r#"argument 1 of `n`: invalid type: string \"x\", expected u8"#;
    assert_eq!(
        peer.received_one(),
        format!(r#"3/other,7[{{"error":"{text}"}}]"#)
    );
    assert_eq!(log.take(), [format!("/other n {id}")]);
}

#[tokio::test]
async fn a_client_in_no_namespace_is_reported_without_one() {
    let (io, log) = server();
    let told = log.clone();
    io.on_error(move |report| told.push(report.namespace().is_none()));
    let mut peer = Peer::open(&io).await;
    peer.send("abc");
    assert_eq!(log.take(), ["true"]);
}

#[tokio::test]
async fn errors_have_their_cause() {
    #[derive(Debug)]
    struct Broken;
    impl std::fmt::Display for Broken {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("broken")
        }
    }
    impl std::error::Error for Broken {}

    let (io, log) = server();
    let told = log.clone();
    io.on_error(move |report| {
        let cause = std::error::Error::source(report.error()).unwrap();
        told.push(cause.is::<Broken>());
    });
    io.on("e", async || Err::<(), _>(Broken));
    io.of("/")
        .packet_middleware(async |Data(n): Data<u8>| match n {
            1 => Err(BoxError::from(Broken)),
            _ => Ok(()),
        });
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["e",0]"#);
    peer.send(r#"2["e",1]"#);
    assert_eq!(log.take(), ["true", "true"]);
}
