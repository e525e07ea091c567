//! stub
/// stub
#[derive(Clone, Debug)]
pub struct Cookie;
/// stub
#[derive(Clone, Debug)]
pub struct InvalidCookie;
impl Cookie {
    pub(crate) fn header_value(&self, _: &str) -> http::HeaderValue {
        http::HeaderValue::from_static("")
    }
}
