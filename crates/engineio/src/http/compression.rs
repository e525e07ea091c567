//! stub
/// stub
#[derive(Clone, Debug, Default)]
pub struct HttpCompression;
impl HttpCompression {
    pub(crate) fn compress(
        &self,
        b: bytes::Bytes,
        _: Option<&http::HeaderValue>,
    ) -> (bytes::Bytes, Option<&'static str>) {
        (b, None)
    }
}
