//! Clients that load scripts and submit forms (`j=`).

mod common;

use common::{A_MOMENT, PATH, Running, both_versions, start};
use engineio::{CloseReason, Encoded};
use testkit::{Polling, Response};
use tokio::time::sleep;

const FORM: &str = "application/x-www-form-urlencoded";

async fn open(running: &Running, query: &str) -> Polling {
    Polling::open(running.addr, PATH, query).await
}

/// Posts the field `d` of a form, percent-encoded by hand.
async fn post(session: &mut Polling, value: &str) -> Response {
    session.post_as(FORM, format!("d={value}")).await
}

#[tokio::test]
async fn bodies_are_calls_of_the_function_that_was_asked_for() {
    let running = start(both_versions()).await;
    let session = open(&running, "EIO=4&j=12").await;
    let json = session.open.json.replace('"', "\\\"");
    assert_eq!(session.opened.text(), format!("___eio[12](\"0{json}\");"));
    let content_type = session.opened.header("content-type");
    assert_eq!(content_type, Some("text/plain; charset=UTF-8"));

    let session = open(&running, "EIO=3&b64=1&j=0").await;
    let json = session.open.json.replace('"', "\\\"");
    let length = session.open.json.len() + 1;
    let expected = format!("___eio[0](\"{length}:0{json}\");");
    assert_eq!(session.opened.text(), expected);
}

#[tokio::test]
async fn only_the_digits_of_the_index_are_used() {
    let running = start(both_versions()).await;
    for (index, used) in [
        ("1%5D;alert(2);x%5B3", "123"),
        ("%3Cscript%3E", ""),
        ("", ""),
        ("-1", "1"),
    ] {
        let session = open(&running, &format!("EIO=4&j={index}")).await;
        let start = format!("___eio[{used}](\"0{{");
        assert!(session.opened.text().starts_with(&start), "{index}");
    }
}

#[tokio::test]
async fn the_index_of_the_handshake_is_kept() {
    let running = start(both_versions()).await;
    let session = open(&running, "EIO=4&j=1").await;
    running.handle(session.sid()).await.send("a");
    let url = session.url().replace("j=1", "j=2");
    let response = testkit::get(running.addr, &url).await;
    assert_eq!(response.text(), "___eio[1](\"4a\");");
}

#[tokio::test]
async fn text_is_escaped_for_a_script() {
    let running = start(both_versions()).await;
    let mut session = open(&running, "EIO=4&j=1").await;
    let handle = running.handle(session.sid()).await;
    handle.send("\"\\/\n\r\t\u{0}\u{2028}\u{2029}é</script>");
    let expected = r#"___eio[1]("4\"\\/\n\r\t\u0000\u2028\u2029é</script>");"#;
    assert_eq!(session.poll_text().await, expected);
}

#[tokio::test]
async fn bytes_are_base64_in_every_version() {
    let running = start(both_versions()).await;
    for (query, body) in [
        ("EIO=4&j=1", "___eio[1](\"4a\\u001ebAQL/\");"),
        ("EIO=3&b64=1&j=1", "___eio[1](\"2:4a6:b4AQL/\");"),
        (
            "EIO=3&b64=1&j=1&t=1427193600000-0",
            "___eio[1](\"2:4a6:b4AQL/\");",
        ),
    ] {
        let mut session = open(&running, query).await;
        let handle = running.handle(session.sid()).await;
        handle.send("a");
        handle.send(Encoded::binary(vec![1, 2, 255]));
        sleep(A_MOMENT).await;
        assert_eq!(session.poll_text().await, body);
    }
}

#[tokio::test]
async fn a_form_carries_the_payload() {
    let running = start(both_versions()).await;
    let mut session = open(&running, "EIO=4&j=1").await;
    let response = post(&mut session, "4hello+world%21%1E4caf%C3%A9").await;
    assert_eq!((response.status, response.text()), (200, "ok"));
    let expected = "___eio[1](\"4hello world!\\u001e4café\");";
    assert_eq!(session.poll_text().await, expected);

    let mut session = open(&running, "EIO=3&b64=1&j=1").await;
    let response = post(&mut session, "5%3A4caf%C3%A92%3A4a").await;
    assert_eq!(response.text(), "ok");
    assert_eq!(session.poll_text().await, "___eio[1](\"5:4café2:4a\");");
}

#[tokio::test]
async fn line_breaks_survive_the_form() {
    let running = start(both_versions()).await;
    let mut session = open(&running, "EIO=4&j=1").await;
    // `\n` stands for a line break, `\\n` for those two characters.
    post(&mut session, "4a%5Cnb%5C%5Cnc%5C").await;
    let messages = running.messages(session.sid(), 1).await;
    assert_eq!(messages, ["a\nb\\nc\\"]);
}

#[tokio::test]
async fn a_form_without_the_field_is_ignored() {
    let running = start(both_versions()).await;
    let mut session = open(&running, "EIO=4&j=1").await;
    for form in ["", "a=b", "D=4hello"] {
        let response = session.post_as(FORM, form).await;
        assert_eq!((response.status, response.text()), (200, "ok"), "{form:?}");
    }
    running.assert_open(session.sid()).await;
}

#[tokio::test]
async fn a_payload_that_cannot_be_decoded_closes_the_session() {
    let running = start(both_versions()).await;
    let mut session = open(&running, "EIO=4&j=1").await;
    session.send_poll().await;
    sleep(A_MOMENT).await;
    assert_eq!(post(&mut session, "abc").await.status, 400);
    assert_eq!(session.recv_poll().await.text(), "___eio[1](\"1\");");
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::ParseError);
}

#[tokio::test]
async fn closing_is_a_call_as_well() {
    let running = start(both_versions()).await;
    let mut session = open(&running, "EIO=4&j=1").await;
    running
        .handle(session.sid())
        .await
        .close(CloseReason::ForcedClose);
    assert_eq!(session.poll_text().await, "___eio[1](\"6\\u001e1\");");
    let mut session = open(&running, "EIO=3&b64=1&j=1").await;
    session.send_poll().await;
    sleep(A_MOMENT).await;
    assert_eq!(post(&mut session, "1%3A1").await.text(), "ok");
    assert_eq!(session.recv_poll().await.text(), "___eio[1](\"1:6\");");
}
