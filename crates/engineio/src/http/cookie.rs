//! A cookie that tells a load balancer which session a request belongs to.

use std::{
    fmt::{self, Write as _},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;

/// A cookie with the session id, for load balancers that route by cookie. The server sets it with
/// the response that opens a polling session, and never reads it.
///
/// By default it is `io=<session id>; Path=/; HttpOnly; SameSite=Lax`. The session id
/// authenticates the client, so leave [`http_only`](Self::http_only) on, and turn on
/// [`secure`](Self::secure) where the server is reached by HTTPS.
///
/// ```
/// # fn main() -> Result<(), engineio::InvalidCookie> {
/// use engineio::{Cookie, SameSite};
///
/// let cookie = Cookie::new("route")?
///     .path("/chat")?
///     .secure(true)
///     .same_site(SameSite::Strict);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    name: String,
    max_age: Option<Duration>,
    domain: Option<String>,
    path: Option<String>,
    expires: Option<SystemTime>,
    http_only: bool,
    secure: bool,
    partitioned: bool,
    priority: Option<Priority>,
    same_site: Option<SameSite>,
}

impl Cookie {
    /// A cookie of another name than `io`. A name has letters, digits and the few other
    /// characters that a header name may have.
    ///
    /// # Errors
    ///
    /// [`InvalidCookie::Name`].
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidCookie> {
        let name = name.into();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(InvalidCookie::Name(name));
        }
        Ok(Self {
            name,
            ..Self::default()
        })
    }

    /// How long the browser keeps the cookie, in whole seconds. Default: until it is closed.
    #[doc(alias = "maxAge")]
    pub fn max_age(mut self, max_age: impl Into<Option<Duration>>) -> Self {
        self.max_age = max_age.into();
        self
    }

    /// The domain that the cookie is sent to, with all its subdomains. Default: the host that set
    /// it, and no other.
    ///
    /// # Errors
    ///
    /// [`InvalidCookie::Domain`], unless it is an ASCII host name, perhaps after a dot.
    pub fn domain<'a>(mut self, domain: impl Into<Option<&'a str>>) -> Result<Self, InvalidCookie> {
        let domain = domain.into();
        if let Some(invalid) = domain.filter(|it| !is_domain(it)) {
            return Err(InvalidCookie::Domain(invalid.to_owned()));
        }
        self.domain = domain.map(str::to_owned);
        Ok(self)
    }

    /// The path that the cookie is sent to, with all paths below it. Default: `/`. `None` leaves
    /// it out, which stands for the path of the request.
    ///
    /// # Errors
    ///
    /// [`InvalidCookie::Path`] for characters beyond ASCII, control characters and `;`.
    pub fn path<'a>(mut self, path: impl Into<Option<&'a str>>) -> Result<Self, InvalidCookie> {
        let path = path.into();
        if let Some(invalid) = path.filter(|it| !it.bytes().all(is_attribute)) {
            return Err(InvalidCookie::Path(invalid.to_owned()));
        }
        self.path = path.map(str::to_owned);
        Ok(self)
    }

    /// When the browser drops the cookie. Default: when it is closed. It is one moment for all
    /// sessions; [`max_age`](Self::max_age) counts from the moment at which the cookie is set.
    ///
    /// # Errors
    ///
    /// [`InvalidCookie::Expires`] for moments before 1970 or after 9999.
    pub fn expires(
        mut self,
        expires: impl Into<Option<SystemTime>>,
    ) -> Result<Self, InvalidCookie> {
        let expires = expires.into();
        let has_date = |it: &SystemTime| {
            it.duration_since(UNIX_EPOCH)
                .is_ok_and(|since| since < YEAR_10000)
        };
        if expires.as_ref().is_some_and(|it| !has_date(it)) {
            return Err(InvalidCookie::Expires);
        }
        self.expires = expires;
        Ok(self)
    }

    /// Whether scripts cannot read the cookie. Default: `true`.
    #[doc(alias = "httpOnly")]
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Whether the cookie is sent over HTTPS only. Default: `false`.
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Whether a page that is embedded in another gets its own cookie there. Default: `false`.
    /// Browsers want [`secure`](Self::secure) with it.
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// What a browser drops first when it has too many cookies. Default: not said.
    pub fn priority(mut self, priority: impl Into<Option<Priority>>) -> Self {
        self.priority = priority.into();
        self
    }

    /// Whether requests that pages of other sites make carry the cookie. Default:
    /// [`SameSite::Lax`]. `None` leaves it to the browser.
    #[doc(alias = "sameSite")]
    pub fn same_site(mut self, same_site: impl Into<Option<SameSite>>) -> Self {
        self.same_site = same_site.into();
        self
    }

    /// The `Set-Cookie` header for a session.
    pub(crate) fn header_value(&self, sid: &str) -> HeaderValue {
        let mut text = String::with_capacity(self.name.len() + sid.len() + 64);
        text.push_str(&self.name);
        text.push('=');
        push_encoded(&mut text, sid);
        // a String takes whatever is written to it
        let _ = self.write_attributes(&mut text);
        HeaderValue::try_from(text).expect("every part was checked when it was given")
    }

    fn write_attributes(&self, text: &mut String) -> fmt::Result {
        if let Some(max_age) = self.max_age {
            write!(text, "; Max-Age={}", max_age.as_secs())?;
        }
        if let Some(domain) = &self.domain {
            write!(text, "; Domain={domain}")?;
        }
        if let Some(path) = &self.path {
            write!(text, "; Path={path}")?;
        }
        if let Some(expires) = self.expires {
            write!(text, "; Expires={}", httpdate::HttpDate::from(expires))?;
        }
        if self.http_only {
            text.write_str("; HttpOnly")?;
        }
        if self.secure {
            text.write_str("; Secure")?;
        }
        if self.partitioned {
            text.write_str("; Partitioned")?;
        }
        if let Some(priority) = self.priority {
            write!(text, "; Priority={priority:?}")?;
        }
        if let Some(same_site) = self.same_site {
            write!(text, "; SameSite={same_site:?}")?;
        }
        Ok(())
    }
}

/// `io=<session id>; Path=/; HttpOnly; SameSite=Lax`.
impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: "io".to_owned(),
            max_age: None,
            domain: None,
            path: Some("/".to_owned()),
            expires: None,
            http_only: true,
            secure: false,
            partitioned: false,
            priority: None,
            same_site: Some(SameSite::Lax),
        }
    }
}

/// Whether requests that pages of other sites make carry a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// They do not.
    Strict,
    /// Only when the user follows a link.
    Lax,
    /// They do. Browsers want [`Cookie::secure`] with it.
    None,
}

/// What a browser drops first when it has too many cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// This first.
    Low,
    /// This as any other.
    Medium,
    /// This last.
    High,
}

/// An attribute that no cookie can have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidCookie {
    /// The name is empty or has characters that a cookie's name cannot have.
    Name(String),
    /// The domain is not a host name.
    Domain(String),
    /// The path has characters that would end it.
    Path(String),
    /// The moment has no date of four digits after 1970.
    Expires,
}

impl fmt::Display for InvalidCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidCookie::Name(name) => write!(
                f,
                "invalid cookie name {name:?}: use ASCII letters, digits and !#$%&'*+-.^_`|~"
            ),
            InvalidCookie::Domain(domain) => write!(
                f,
                "invalid cookie domain {domain:?}: use a host name such as \"example.com\""
            ),
            InvalidCookie::Path(path) => write!(
                f,
                "invalid cookie path {path:?}: use printable ASCII characters without `;`"
            ),
            InvalidCookie::Expires => {
                f.write_str("invalid cookie expiry: use a moment in the years 1970 to 9999")
            }
        }
    }
}

impl std::error::Error for InvalidCookie {}

/// Source: RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Source: RFC 6265, section 4.1.1.
fn is_attribute(byte: u8) -> bool {
    (byte.is_ascii_graphic() || byte == b' ') && byte != b';'
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    domain.split('.').all(is_label)
}

/// Percent-encodes what could end the value. A session id of this server has nothing of that.
fn push_encoded(text: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

/// From 1970 on, 1 January 10000.
const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);

#[cfg(test)]
mod tests {
    use super::*;

    fn line(cookie: &Cookie) -> String {
        let value = cookie.header_value("Sid-_123");
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn the_default_is_that_of_the_official_server() {
        assert_eq!(
            line(&Cookie::default()),
            "io=Sid-_123; Path=/; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn all_attributes_in_order() {
        let cookie = Cookie::new("my.Cookie")
            .unwrap()
            .same_site(SameSite::None)
            .priority(Priority::High)
            .partitioned(true)
            .secure(true)
            .expires(UNIX_EPOCH + Duration::from_secs(1_445_412_480))
            .unwrap()
            .path("/a b/<c>")
            .unwrap()
            .domain(".example.com")
            .unwrap()
            .max_age(Duration::from_millis(1_900));
        assert_eq!(
            line(&cookie),
            "my.Cookie=Sid-_123; Max-Age=1; Domain=.example.com; Path=/a b/<c>; \
             Expires=Wed, 21 Oct 2015 07:28:00 GMT; HttpOnly; Secure; Partitioned; \
             Priority=High; SameSite=None"
        );
    }

    #[test]
    fn every_attribute_can_be_left_out() {
        let cookie = Cookie::default()
            .max_age(None)
            .domain(None)
            .and_then(|it| it.path(None))
            .and_then(|it| it.expires(None))
            .unwrap()
            .http_only(false)
            .priority(None)
            .same_site(None);
        assert_eq!(line(&cookie), "io=Sid-_123");
    }

    #[test]
    fn the_names_of_values_are_those_on_the_wire() {
        let cookie =
            |same_site, priority| line(&Cookie::default().same_site(same_site).priority(priority));
        assert!(
            cookie(SameSite::Strict, Priority::Low).ends_with("; Priority=Low; SameSite=Strict")
        );
        assert!(
            cookie(SameSite::Lax, Priority::Medium).ends_with("; Priority=Medium; SameSite=Lax")
        );
    }

    #[test]
    fn names_that_would_break_the_header_are_refused() {
        for name in ["", "a b", "a=b", "a;b", "é", "a\r\nb", "\"a\"", "a,b"] {
            let error = Cookie::new(name).unwrap_err();
            assert_eq!(error, InvalidCookie::Name(name.to_owned()));
            assert!(error.to_string().contains(&format!("{name:?}")));
        }
    }

    #[test]
    fn paths_that_would_break_the_header_are_refused() {
        for path in ["/;", "/a\nb", "/é", "/\u{7f}", "/\t"] {
            let error = Cookie::default().path(path).unwrap_err();
            assert_eq!(error, InvalidCookie::Path(path.to_owned()));
        }
    }

    #[test]
    fn domains_are_host_names() {
        for domain in [
            "", ".", "a..b", "a b", "-a.b", "a-.b", "a;b", "é.de", "a.b.",
        ] {
            let error = Cookie::default().domain(domain).unwrap_err();
            assert_eq!(error, InvalidCookie::Domain(domain.to_owned()));
        }
        for domain in [
            "localhost",
            "a-b.Example.com",
            "xn--80ak6aa92e.com",
            "127.0.0.1",
        ] {
            assert!(Cookie::default().domain(domain).is_ok(), "{domain}");
        }
        assert!(Cookie::default().domain(&*"a".repeat(64)).is_err());
    }

    #[test]
    fn moments_without_a_date_are_refused() {
        let last = UNIX_EPOCH + YEAR_10000 - Duration::from_secs(1);
        let cookie = Cookie::default().expires(last).unwrap();
        assert!(line(&cookie).contains("Expires=Fri, 31 Dec 9999 23:59:59 GMT"));
        for moment in [UNIX_EPOCH + YEAR_10000, UNIX_EPOCH - Duration::from_secs(1)] {
            let error = Cookie::default().expires(moment).unwrap_err();
            assert_eq!(error, InvalidCookie::Expires);
        }
    }

    #[test]
    fn ids_of_other_makers_cannot_break_out() {
        let value = Cookie::default().header_value("a;b é\r\n");
        assert_eq!(
            value,
            "io=a%3Bb%20%C3%A9%0D%0A; Path=/; HttpOnly; SameSite=Lax"
        );
    }
}
