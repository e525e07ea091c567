//! Cross-origin resource sharing: which pages of other origins may talk to the server.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

/// Which pages of other origins may talk to the server, and what they may see.
///
/// A browser lets a page read an answer of another origin only if the answer's headers allow it.
/// Without a `Cors` no such header is ever sent, and a page must come from the server's own
/// origin, or connect by WebSocket only, which browsers do not restrict.
///
/// The headers are on every answer of the server's path: poll responses, error responses and the
/// `101` of a WebSocket. Every `OPTIONS` request to the path is answered as a preflight.
///
/// ```
/// use engineio::Cors;
/// use http::HeaderValue;
///
/// let cors = Cors::one_of([
///     HeaderValue::from_static("https://example.com"),
///     HeaderValue::from_static("http://localhost:8080"),
/// ])
/// .credentials(true);
/// ```
///
/// Clients 1.x and 2.x in browsers always ask for credentials. To serve them on another origin,
/// name the origins (or [`reflect`](Self::reflect) them) and turn on
/// [`credentials`](Self::credentials): browsers refuse credentials together with `*`.
#[derive(Clone, Debug)]
pub struct Cors {
    origin: Origin,
    methods: HeaderValue,
    /// `None` allows whatever is asked for.
    allowed_headers: Option<HeaderValue>,
    exposed_headers: Option<HeaderValue>,
    credentials: bool,
    max_age: Option<Duration>,
    preflight_continue: bool,
    options_success_status: StatusCode,
}

impl Cors {
    /// Allows every origin: `Access-Control-Allow-Origin: *`.
    pub fn any() -> Self {
        Self::new(Origin::Any)
    }

    /// Allows one origin, which is always the answer, whatever origin asks: browsers compare.
    pub fn exact(origin: HeaderValue) -> Self {
        Self::new(if origin == "*" {
            Origin::Any
        } else {
            Origin::Exact(origin)
        })
    }

    /// Allows the origins of a list. Each is compared byte by byte with the request's `Origin`,
    /// so it has a scheme, no path, and a port if it is not the scheme's own:
    /// `https://example.com`, `http://localhost:8080`.
    pub fn one_of(origins: impl IntoIterator<Item = HeaderValue>) -> Self {
        Self::new(Origin::OneOf(origins.into_iter().collect()))
    }

    /// Allows the origins for which the function returns `true`.
    ///
    /// ```
    /// use engineio::Cors;
    ///
    /// let cors = Cors::matching(|origin| {
    ///     origin == "https://example.com" || origin.ends_with(".example.com")
    /// });
    /// ```
    pub fn matching(allows: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Origin::Matching(Arc::new(allows)))
    }

    /// Allows every origin by its name rather than by `*`, so that
    /// [`credentials`](Self::credentials) work. Any page of the web can then act for its visitor.
    pub fn reflect() -> Self {
        Self::new(Origin::Reflect)
    }

    /// The methods that a preflight allows. Default: GET, HEAD, PUT, PATCH, POST, DELETE.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = joined(methods);
        self
    }

    /// The request headers that a preflight allows. Default: those it asks for.
    #[doc(alias = "allowedHeaders")]
    pub fn allowed_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.allowed_headers = Some(joined(names));
        self
    }

    /// The response headers that a page may read besides the few that are always open to it.
    /// Default: none.
    #[doc(alias = "exposedHeaders")]
    pub fn exposed_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.exposed_headers = Some(joined(names));
        self
    }

    /// Whether requests may carry cookies and HTTP authentication. Default: `false`.
    ///
    /// It is not sent together with [`any`](Self::any), where browsers would refuse it.
    pub fn credentials(mut self, credentials: bool) -> Self {
        self.credentials = credentials;
        self
    }

    /// How long a browser may keep the answer to a preflight, in whole seconds; zero forbids it.
    /// Default: not said, which most browsers take for five seconds.
    #[doc(alias = "maxAge")]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Whether `OPTIONS` requests go on to the server, which refuses them as a bad method, in
    /// place of an answer. Default: `false`.
    #[doc(alias = "preflightContinue")]
    pub fn preflight_continue(mut self, preflight_continue: bool) -> Self {
        self.preflight_continue = preflight_continue;
        self
    }

    /// The status of the answer to a preflight. Default: 204. Some very old browsers want 200.
    #[doc(alias = "optionsSuccessStatus")]
    pub fn options_success_status(mut self, status: StatusCode) -> Self {
        self.options_success_status = status;
        self
    }

    /// Adds the headers of an actual response.
    pub(crate) fn headers(&self, request: &HeaderMap, out: &mut HeaderMap) {
        self.add_origin(request, out);
        self.add_credentials(out);
        self.add_exposed_headers(out);
    }

    /// Adds the headers of the answer to a preflight.
    pub(crate) fn preflight_headers(&self, request: &HeaderMap, out: &mut HeaderMap) {
        self.add_origin(request, out);
        self.add_credentials(out);
        add(out, header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods);
        match &self.allowed_headers {
            Some(names) => add(out, header::ACCESS_CONTROL_ALLOW_HEADERS, names),
            None => {
                add_vary(out, "Access-Control-Request-Headers");
                if let Some(names) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                    add(out, header::ACCESS_CONTROL_ALLOW_HEADERS, names);
                }
            }
        }
        if let Some(max_age) = self.max_age {
            out.insert(header::ACCESS_CONTROL_MAX_AGE, max_age.as_secs().into());
        }
        self.add_exposed_headers(out);
    }

    /// The answer to an `OPTIONS` request, unless those are to go on.
    pub(crate) fn preflight(
        &self,
        method: &Method,
        request: &HeaderMap,
    ) -> Option<Response<Bytes>> {
        if self.preflight_continue || *method != Method::OPTIONS {
            return None;
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = self.options_success_status;
        self.preflight_headers(request, response.headers_mut());
        let none = HeaderValue::from_static("0");
        response.headers_mut().insert(header::CONTENT_LENGTH, none);
        Some(response)
    }

    fn new(origin: Origin) -> Self {
        Self {
            origin,
            methods: HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE"),
            allowed_headers: None,
            exposed_headers: None,
            credentials: false,
            max_age: None,
            preflight_continue: false,
            options_success_status: StatusCode::NO_CONTENT,
        }
    }

    /// All but `*` varies with who asks. A fixed origin does not, but caches are told so as well,
    /// as by the official server: it may be another one tomorrow.
    fn add_origin(&self, request: &HeaderMap, out: &mut HeaderMap) {
        let asking = request.get(header::ORIGIN);
        let allowed = match &self.origin {
            Origin::Any => {
                out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, WILDCARD);
                return;
            }
            Origin::Exact(origin) => Some(origin),
            Origin::OneOf(origins) => asking.filter(|it| origins.contains(it)),
            Origin::Matching(allows) => asking.filter(|it| it.to_str().is_ok_and(|it| allows(it))),
            Origin::Reflect => asking,
        };
        if let Some(origin) = allowed {
            add(out, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        add_vary(out, "Origin");
    }

    fn add_credentials(&self, out: &mut HeaderMap) {
        if self.credentials && !matches!(self.origin, Origin::Any) {
            let yes = HeaderValue::from_static("true");
            out.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }

    fn add_exposed_headers(&self, out: &mut HeaderMap) {
        if let Some(names) = &self.exposed_headers {
            add(out, header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
    }
}

/// [`Cors::any`].
impl Default for Cors {
    fn default() -> Self {
        Self::any()
    }
}

#[derive(Clone)]
enum Origin {
    Any,
    Exact(HeaderValue),
    OneOf(Vec<HeaderValue>),
    Matching(Arc<dyn Fn(&str) -> bool + Send + Sync>),
    Reflect,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Any => f.write_str("Any"),
            Origin::Exact(origin) => f.debug_tuple("Exact").field(origin).finish(),
            Origin::OneOf(origins) => f.debug_tuple("OneOf").field(origins).finish(),
            Origin::Matching(_) => f.write_str("Matching(..)"),
            Origin::Reflect => f.write_str("Reflect"),
        }
    }
}

fn joined(names: impl IntoIterator<Item = impl AsRef<str>>) -> HeaderValue {
    let mut list = String::new();
    for name in names {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(name.as_ref());
    }
    HeaderValue::try_from(list).expect("methods and header names are header text")
}

/// An empty value says nothing, so it is not sent.
fn add(out: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    if !value.is_empty() {
        out.insert(name, value.clone());
    }
}

/// Names a request header that the response depends on, next to those that are already named.
fn add_vary(out: &mut HeaderMap, name: &'static str) {
    let mut list = String::new();
    for named in out.get_all(header::VARY) {
        let named = named.to_str().unwrap_or_default();
        let mut names = named.split(',').map(str::trim);
        if names.any(|it| it == "*" || it.eq_ignore_ascii_case(name)) {
            return;
        }
        if !named.is_empty() {
            list += named;
            list += ", ";
        }
    }
    list += name;
    // Cannot fail: all of it was header text before.
    if let Ok(value) = HeaderValue::try_from(list) {
        out.insert(header::VARY, value);
    }
}

const WILDCARD: HeaderValue = HeaderValue::from_static("*");

#[cfg(test)]
mod tests;
