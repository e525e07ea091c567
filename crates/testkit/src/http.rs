//! HTTP/1.1 requests on a keep-alive connection.

use std::{fmt, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};

use crate::wire::{Wait, Wire};

/// A keep-alive HTTP/1.1 connection.
///
/// A request on a connection that the server has closed opens a new one, as browsers do.
#[derive(Debug)]
pub struct Http {
    wire: Wire,
    closing: bool,
    head_only: bool,
    awaited: String,
}

impl Http {
    /// Opens a connection.
    pub async fn connect(addr: SocketAddr) -> Self {
        Self {
            wire: Wire::connect(addr).await,
            closing: false,
            head_only: false,
            awaited: "a response".to_owned(),
        }
    }

    /// The bytes below, for whatever this type does not do.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Changes the time limit of everything that waits for the server (5 s).
    pub fn set_limit(&mut self, limit: Duration) {
        self.wire.set_limit(limit);
    }

    /// A GET and its response.
    pub async fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[], "").await
    }

    /// A POST and its response. An empty content type sends no such header.
    pub async fn post(
        &mut self,
        path: &str,
        content_type: &str,
        body: impl AsRef<[u8]>,
    ) -> Response {
        let headers = [("Content-Type", content_type)];
        let headers = if content_type.is_empty() {
            &headers[1..]
        } else {
            &headers[..]
        };
        self.request("POST", path, headers, body).await
    }

    /// A request and its response; see [`send_request`](Self::send_request).
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Response {
        self.send_request(method, path, headers, body).await;
        self.response().await
    }

    /// Sends a request and does not wait. `Host` and, for anything but a GET or HEAD without a
    /// body, `Content-Length` are added unless the headers have them or `Transfer-Encoding`; the
    /// rest is sent as given.
    pub async fn send_request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) {
        if self.closing || self.wire.has_ended() {
            *self = Self::connect(self.wire.peer()).await;
        }
        let body = body.as_ref();
        let mut bytes = head(method, path, self.wire.peer(), headers, body.len()).into_bytes();
        bytes.extend_from_slice(body);
        self.head_only = method == "HEAD";
        self.awaited = format!("the response to {method} {path}");
        self.wire.send(bytes).await;
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.send(bytes).await;
    }

    /// The next response.
    ///
    /// # Panics
    ///
    /// If the connection ends first, the time is up, or it is no HTTP/1.1 response.
    pub async fn response(&mut self) -> Response {
        match self.try_response().await {
            Some(response) => response,
            None => panic!("the connection ended before {}", self.awaited),
        }
    }

    /// The next response, or `None` if the connection ends before it starts. Interim responses
    /// (100 Continue) are skipped; a 101 is returned.
    ///
    /// # Panics
    ///
    /// If the connection ends in the middle, the time is up, or it is no HTTP/1.1 response.
    pub async fn try_response(&mut self) -> Option<Response> {
        let awaited = std::mem::take(&mut self.awaited);
        let wait = self.wire.wait(&awaited);
        let response = loop {
            let response = read_response(&mut self.wire, self.head_only, wait).await;
            if response.as_ref().is_none_or(|it| it.status != 100) {
                break response;
            }
        };
        self.awaited = awaited;
        self.closing = response.as_ref().is_none_or(Response::closes);
        response
    }

    /// Waits until the server closes the connection.
    ///
    /// # Panics
    ///
    /// If it sends something first, or the time is up.
    pub async fn closed(&mut self) {
        let rest = self.wire.rest().await;
        assert!(rest.is_empty(), "unexpected before the end: {rest:?}");
    }

    /// Panics if anything arrives within `time`, the end of the connection included.
    pub async fn silence(&mut self, time: Duration) {
        self.wire.silence(time).await;
    }
}

/// A response.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding removed, content coding not.
    pub body: Bytes,
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_values(name).next()
    }

    /// All headers of that name.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = move |(header, _): &&(String, String)| header.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .filter(found)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the body of {self:?}"))
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the body of {self:?}"))
    }

    /// Whether the connection ends with this response.
    pub fn closes(&self) -> bool {
        let close = |value: &str| value.eq_ignore_ascii_case("close");
        self.header_values("connection").any(close)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.status, self.headers, self.body)
    }
}

/// The head of a request, `Host` and `Content-Length` added where they are missing.
fn head(
    method: &str,
    path: &str,
    host: SocketAddr,
    headers: &[(&str, &str)],
    body: usize,
) -> String {
    let has = |name: &str| headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !has("host") {
        head += &format!("Host: {host}\r\n");
    }
    let bodiless = body == 0 && matches!(method, "GET" | "HEAD");
    if !bodiless && !has("content-length") && !has("transfer-encoding") {
        head += &format!("Content-Length: {body}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

/// Reads one response, interim ones included.
pub(crate) async fn read_response(
    wire: &mut Wire,
    head_only: bool,
    wait: Wait<'_>,
) -> Option<Response> {
    let Some(head) = wire.until(b"\r\n\r\n", wait).await else {
        let unread = wire.unread();
        assert!(
            unread.is_empty(),
            "ended in the middle of a head: {unread:?}"
        );
        return None;
    };
    let mut response = parse_head(&head);
    let chunked = response.header("transfer-encoding") == Some("chunked");
    let length = response.header("content-length").map(|value| {
        value
            .parse::<usize>()
            .unwrap_or_else(|_| panic!("Content-Length {value:?}"))
    });
    assert!(!chunked || length.is_none(), "two lengths in {response:?}");
    let bodiless = head_only || matches!(response.status, 100..=199 | 204 | 304);
    response.body = if bodiless {
        Bytes::new()
    } else if chunked {
        chunks(wire, wait).await
    } else if let Some(length) = length {
        let body = wire.exactly(length, wait).await;
        body.unwrap_or_else(|| panic!("ended in the middle of the body of {response:?}"))
    } else {
        wire.rest().await
    };
    Some(response)
}

fn parse_head(head: &[u8]) -> Response {
    let text = std::str::from_utf8(head).unwrap_or_else(|_| panic!("head {head:?}"));
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next().unwrap_or_default();
    let status = status
        .strip_prefix("HTTP/1.1 ")
        .and_then(|it| it.get(..3)?.parse().ok())
        .unwrap_or_else(|| panic!("status line {status:?}"));
    let header = |line: &str| match line.split_once(':') {
        Some((name, value)) => (name.to_ascii_lowercase(), value.trim().to_owned()),
        None => panic!("header {line:?}"),
    };
    Response {
        status,
        headers: lines.map(header).collect(),
        body: Bytes::new(),
    }
}

async fn chunks(wire: &mut Wire, wait: Wait<'_>) -> Bytes {
    let mut body = BytesMut::new();
    loop {
        let line = wire.until(b"\r\n", wait).await.expect("a chunk size");
        let size = std::str::from_utf8(&line).unwrap_or_default().trim_end();
        let size =
            usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
        let chunk = wire.exactly(size + 2, wait).await.expect("a whole chunk");
        assert!(chunk.ends_with(b"\r\n"), "chunk {chunk:?}");
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return body.freeze();
        }
    }
}

/// The status codes of all responses in some bytes.
pub fn statuses(answers: &(impl AsRef<[u8]> + ?Sized)) -> Vec<&str> {
    let answers = answers.as_ref();
    (0..answers.len())
        .filter_map(|at| answers[at..].strip_prefix(b"HTTP/1.1 ")?.get(..3))
        .map(|code| str::from_utf8(code).expect("a status code"))
        .collect()
}
