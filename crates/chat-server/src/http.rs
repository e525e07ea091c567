//! The page, and the files beside it.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;

/// The tutorial's page, byte for byte.
pub(crate) const INDEX: &str = include_str!("../../../static/index.html");

/// Answers what is not Socket.IO: the page at `/`, files where a folder was given, 404 otherwise.
pub(crate) async fn respond<B>(request: &Request<B>, dir: Option<&Path>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return not_found();
    }
    let path = request.uri().path();
    let found = match dir {
        None if path == "/" => Ok((HTML, Bytes::from_static(INDEX.as_bytes()))),
        None => return not_found(),
        Some(dir) => read(dir, path).await,
    };
    match found {
        Ok((content_type, bytes)) => {
            let mut response = Response::new(Full::new(bytes));
            let content_type = HeaderValue::from_static(content_type);
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, content_type);
            response
        }
        Err(_) => not_found(),
    }
}

async fn read(dir: &Path, path: &str) -> io::Result<(&'static str, Bytes)> {
    let file = below(dir, path).ok_or(io::ErrorKind::NotFound)?;
    let bytes = tokio::fs::read(&file).await?;
    Ok((content_type(&file), bytes.into()))
}

/// The file that a request's path names. Only plain names lead anywhere: nothing goes up, and
/// what needs escapes in a URL is not served.
fn below(dir: &Path, path: &str) -> Option<PathBuf> {
    let relative = match path.strip_prefix('/')? {
        "" => "index.html",
        relative => relative,
    };
    if relative.contains(['%', '\\', '\0']) {
        return None;
    }
    let relative = Path::new(relative);
    let plain = |part| matches!(part, Component::Normal(_));
    relative.components().all(plain).then(|| dir.join(relative))
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|it| it.to_str()) {
        Some("html") => HTML,
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        _ => "application/octet-stream",
    }
}

fn not_found() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("Not Found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

const HTML: &str = "text/html; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_above_the_folder_is_served() {
        let dir = Path::new("www");
        assert_eq!(below(dir, "/"), Some(dir.join("index.html")));
        assert_eq!(below(dir, "/a/b.js"), Some(dir.join("a/b.js")));
        for path in [
            "/../secret",
            "/a/../../secret",
            "//etc/passwd",
            "/%2e%2e/secret",
            "/..",
            "a",
        ] {
            assert_eq!(below(dir, path), None, "{path}");
        }
    }
}
