//! Files beside the engine, for the clients' own code.

use std::{
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use flate2::Compression;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request};

use super::{
    compression::{Coding, preferred},
    response::{self, ResponseBody},
};

/// Files that the server hands out below its path, such as the code of the client. They are in
/// memory; see [`Config::files`](crate::Config::files).
///
/// ```
/// use engineio::{Config, File, Files};
///
/// let client = "export default function connect() {}";
/// let files = Files::default().add("client.js", File::new("text/javascript", client));
/// let config = Config::default().files(files); // GET /engine.io/client.js
/// ```
#[derive(Clone, Debug, Default)]
pub struct Files(Vec<(Box<str>, Arc<File>)>);

impl Files {
    /// Adds a file by its name, which is compared exactly. Of two with the same name the first
    /// counts.
    #[must_use]
    pub fn add(mut self, name: &str, file: File) -> Self {
        self.0.push((name.into(), Arc::new(file)));
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<File>> {
        let file = self.0.iter().find(|(found, _)| **found == *name);
        file.map(|(_, file)| file)
    }
}

/// A file, its type, and its version.
///
/// It is compressed by gzip or deflate for clients that want it, once for all of them, and by
/// Brotli if it comes with a [copy](Self::brotli) that is.
pub struct File {
    content_type: HeaderValue,
    etag: HeaderValue,
    plain: Bytes,
    brotli: Option<Bytes>,
    gzip: OnceLock<Bytes>,
    deflate: OnceLock<Bytes>,
}

impl File {
    /// A file of a content type. Its version is made of its content.
    ///
    /// # Panics
    ///
    /// If the content type has characters that no header can have.
    pub fn new(content_type: &'static str, content: impl Into<Bytes>) -> Self {
        let plain = content.into();
        let mut hash = DefaultHasher::new();
        plain.hash(&mut hash);
        let etag = format!("\"{:016x}\"", hash.finish());
        Self {
            content_type: HeaderValue::from_static(content_type),
            etag: HeaderValue::try_from(etag).expect("digits and quotes"),
            plain,
            brotli: None,
            gzip: OnceLock::new(),
            deflate: OnceLock::new(),
        }
    }

    /// Reads a file of the disk, and the copies beside it that are compressed already: the files
    /// with `.br` and `.gz` behind its name.
    ///
    /// # Errors
    ///
    /// If the file cannot be read; copies need not be there.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn read(content_type: &'static str, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let mut file = Self::new(content_type, fs::read(path)?);
        let copy = |ending: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            fs::read(name).ok()
        };
        if let Some(brotli) = copy(".br") {
            file = file.brotli(brotli);
        }
        if let Some(gzip) = copy(".gz") {
            file = file.gzip(gzip);
        }
        Ok(file)
    }

    /// The version of the content: clients that have it already are not sent it again. Visible
    /// ASCII but for `"` and `,`; other characters become `-`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        let is_plain = |c: char| c.is_ascii_graphic() && c != '"' && c != ',';
        let tag = version.replace(|c| !is_plain(c), "-");
        self.etag = HeaderValue::try_from(format!("\"{tag}\"")).expect("visible ASCII");
        self
    }

    /// The same content compressed by Brotli.
    #[must_use]
    pub fn brotli(mut self, content: impl Into<Bytes>) -> Self {
        self.brotli = Some(content.into());
        self
    }

    /// The same content compressed by gzip. Without it, it is compressed when first asked for.
    #[must_use]
    pub fn gzip(mut self, content: impl Into<Bytes>) -> Self {
        self.gzip = OnceLock::from(content.into());
        self
    }

    /// The answer to a request.
    pub(crate) async fn response(
        self: &Arc<Self>,
        request: &request::Parts,
    ) -> Response<ResponseBody> {
        let head_only = request.method == Method::HEAD;
        if !head_only && request.method != Method::GET {
            let mut response = response::empty(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allowed);
            return response;
        }
        let mut response = response::empty(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, REVALIDATE);
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if self.is_known(&request.headers) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        let (body, coding) = self.body(&request.headers).await;
        if let Some(coding) = coding {
            let coding = HeaderValue::from_static(coding);
            headers.insert(header::CONTENT_ENCODING, coding);
        }
        if head_only {
            headers.insert(header::CONTENT_LENGTH, body.len().into());
        } else {
            *response.body_mut() = body.into();
        }
        response
    }

    /// Whether the client has this version. A weak tag is as good: the same version is the same
    /// content in any coding.
    ///
    /// Source: RFC 9110, section 13.1.2.
    fn is_known(&self, request: &HeaderMap) -> bool {
        let own = self.etag.as_bytes();
        let known = |list: &HeaderValue| {
            list.as_bytes().split(|byte| *byte == b',').any(|tag| {
                let tag = tag.trim_ascii();
                tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == own
            })
        };
        request.get_all(header::IF_NONE_MATCH).iter().any(known)
    }

    /// The body in the coding that the client likes best, and its name.
    async fn body(self: &Arc<Self>, request: &HeaderMap) -> (Bytes, Option<&'static str>) {
        let plain = || (self.plain.clone(), None);
        let accept = request.get(header::ACCEPT_ENCODING);
        let Some(accept) = accept.and_then(|it| it.to_str().ok()) else {
            return plain();
        };
        let brotli = self.brotli.iter().map(|it| ("br", Choice::Ready(it)));
        let made = [Coding::Gzip, Coding::Deflate];
        let made = made.map(|coding| (coding.name(), Choice::Made(coding)));
        match preferred(accept, brotli.chain(made)) {
            None => plain(),
            Some(Choice::Ready(body)) => (body.clone(), Some("br")),
            Some(Choice::Made(coding)) => match self.encoded(coding).await {
                body if body.is_empty() => plain(),
                body => (body, Some(coding.name())),
            },
        }
    }

    /// The content in a coding; empty if that would make it no smaller.
    async fn encoded(self: &Arc<Self>, coding: Coding) -> Bytes {
        if let Some(body) = self.place(coding).get() {
            return body.clone();
        }
        let file = self.clone();
        let encode = move || {
            let encode = || match coding.encode(&file.plain, Compression::best()) {
                Ok(body) if body.len() < file.plain.len() => body.into(),
                _ => Bytes::new(),
            };
            file.place(coding).get_or_init(encode).clone()
        };
        let encoding = tokio::task::spawn_blocking(encode);
        encoding.await.unwrap_or_default()
    }

    fn place(&self, coding: Coding) -> &OnceLock<Bytes> {
        match coding {
            Coding::Gzip => &self.gzip,
            Coding::Deflate => &self.deflate,
        }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("content_type", &self.content_type)
            .field("etag", &self.etag)
            .field("bytes", &self.plain.len())
            .finish_non_exhaustive()
    }
}

enum Choice<'a> {
    Ready(&'a Bytes),
    Made(Coding),
}

/// Caches may keep it, and ask each time whether it is still the newest.
const REVALIDATE: HeaderValue = HeaderValue::from_static("public, max-age=0");
