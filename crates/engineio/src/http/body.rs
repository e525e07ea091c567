//! Reading a request's body, up to a limit.

use std::{error::Error, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};

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

/// Reads the whole body; never holds more than `limit` bytes and one chunk.
pub(crate) async fn read<B>(body: B, limit: usize) -> Result<Bytes, ReadError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ReadError::TooLarge),
        Err(_) => Err(ReadError::Aborted),
    }
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
