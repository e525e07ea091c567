//! What an application does with every request before the engine looks at it.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Response, header, request};

pub(crate) type Middleware = Arc<
    dyn Fn(Exchange) -> Pin<Box<dyn Future<Output = Result<Exchange, Halt>> + Send>> + Send + Sync,
>;

/// A request on its way to the engine, and what its response already has.
/// [Middlewares](crate::Config::middleware) take it, may change it, and pass it on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exchange {
    /// The request without its body.
    pub request: request::Parts,
    /// Headers that the response to this request gets, whatever it says: 200, an error, or the 101
    /// of a WebSocket. Where the engine has a header of the same name the engine's stays, but for
    /// `Set-Cookie` and `Vary`, of which there may be several.
    pub response_headers: HeaderMap,
    /// If this request opens a session, values that its [`Handshake`](crate::Handshake) keeps, by
    /// type: who the client is, for example.
    pub extensions: Extensions,
}

impl Exchange {
    pub(crate) fn new(request: request::Parts) -> Self {
        Self {
            request,
            response_headers: HeaderMap::new(),
            extensions: Extensions::new(),
        }
    }

    /// Adds the headers to a response.
    pub(crate) fn finish(&self, response: &mut HeaderMap) {
        let added = &self.response_headers;
        for name in added.keys() {
            let may_repeat = *name == header::SET_COOKIE || *name == header::VARY;
            if may_repeat || !response.contains_key(name) {
                for value in added.get_all(name) {
                    response.append(name, value.clone());
                }
            }
        }
    }
}

/// Why a [middleware](crate::Config::middleware) does not pass a request on.
#[derive(Debug)]
pub struct Halt(pub(crate) Cause);

#[derive(Debug)]
pub(crate) enum Cause {
    Refusal(String),
    Answer(Box<Response<Bytes>>),
}

impl Halt {
    /// The request is refused with status 400 and code 3. The error goes to
    /// [`Config::on_connection_error`](crate::Config::on_connection_error) as
    /// [`Middleware`](crate::ConnectionErrorKind::Middleware), and not to the client.
    pub fn refuse(error: impl fmt::Display) -> Self {
        Self(Cause::Refusal(error.to_string()))
    }

    /// The request is answered by this response. A WebSocket does not open then.
    pub fn answer(response: Response<impl Into<Bytes>>) -> Self {
        Self(Cause::Answer(Box::new(response.map(Into::into))))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Request};

    use super::*;

    #[test]
    fn the_engine_has_the_last_word_but_on_cookies_and_vary() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                let name = HeaderName::from_static(name);
                headers.append(name, HeaderValue::from_static(value));
            }
            headers
        };
        let mut exchange = Exchange::new(Request::new(()).into_parts().0);
        exchange.response_headers = headers(&[
            ("set-cookie", "a"),
            ("set-cookie", "b"),
            ("content-type", "text/x"),
            ("content-type", "text/y"),
            ("vary", "Origin"),
            ("x-two", "1"),
            ("x-two", "2"),
        ]);
        let mut response = headers(&[
            ("content-type", "text/plain"),
            ("set-cookie", "io"),
            ("vary", "Accept-Encoding"),
        ]);
        exchange.finish(&mut response);
        let expected = headers(&[
            ("content-type", "text/plain"),
            ("set-cookie", "io"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
            ("vary", "Accept-Encoding"),
            ("vary", "Origin"),
            ("x-two", "1"),
            ("x-two", "2"),
        ]);
        assert_eq!(response, expected);
    }
}
