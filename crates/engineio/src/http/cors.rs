//! stub
use http::{HeaderMap, Method, Response};
/// stub
#[derive(Clone, Debug)]
pub struct Cors;
impl Cors {
    pub(crate) fn headers(&self, _: &HeaderMap, _: &mut HeaderMap) {}
    pub(crate) fn preflight(&self, _: &Method, _: &HeaderMap) -> Option<Response<bytes::Bytes>> {
        None
    }
}
