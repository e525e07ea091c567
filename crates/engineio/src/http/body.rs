//! Reading a request's body, up to a limit.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// More bytes than are taken.
    TooLarge,
    /// The client went away half way.
    Aborted,
}

/// Whether the declared length alone is too much, so that nothing needs to be read.
pub(crate) fn declares_too_much(headers: &HeaderMap, limit: usize) -> bool {
    headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
        .is_some_and(|length| length > limit as u64)
}

/// Reads the whole body; never holds more than `limit` bytes and one chunk. A body in one piece is
/// not copied.
pub(crate) async fn read<B>(mut body: B, limit: usize) -> Result<Bytes, ReadError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let Ok(data) = frame.map_err(|_| ReadError::Aborted)?.into_data() else {
            continue; // trailers
        };
        if data.len() > limit - first.len().max(whole.len()) {
            return Err(ReadError::TooLarge);
        }
        if first.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.into()
    })
}

/// Takes and forgets what is left of a body that was refused: hyper closes a connection with an
/// unread body, and the reset that this causes can overtake the answer.
pub(crate) fn discard<B>(mut body: Pin<Box<B>>)
where
    B: Body<Data = Bytes> + Send + 'static,
{
    tokio::spawn(async move {
        let drain = async {
            let mut left = DISCARDED;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                if length > left {
                    return;
                }
                left -= length;
            }
        };
        let _ = tokio::time::timeout(DISCARD_TIME, drain).await;
    });
}

/// How much of a refused body is taken, and for how long.
const DISCARDED: usize = 64 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(10);
