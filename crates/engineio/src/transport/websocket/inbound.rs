//! From the bytes of a client to messages.
//!
//! Source: RFC 6455, sections 5.2 to 5.5 and 8.1.

use std::{
    cell::Cell,
    future::Future,
    io,
    io::Cursor,
    mem,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use engineio_proto::{Data, Str, Violation};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data as DataCode, OpCode},
};

use crate::transport::io::Io;

/// What has come and was not taken yet. Between messages it holds no memory.
#[derive(Debug)]
pub(super) struct Inbound {
    /// Ends with a frame that is not complete, if with any.
    buffer: BytesMut,
    fragments: Option<Box<Fragments>>,
    /// The largest message, in bytes.
    limit: usize,
}

/// The parts of a message whose last one has not come.
#[derive(Debug)]
struct Fragments {
    is_text: bool,
    bytes: BytesMut,
}

/// What a client has sent.
#[derive(Debug)]
pub(super) enum Received {
    Message(Data),
    Ping(Bytes),
    /// With the payload of the close frame that is due as an answer.
    Close(Bytes),
}

impl Inbound {
    /// `read` has come already, together with the request.
    pub(super) fn new(read: &[u8], limit: usize) -> Self {
        Self {
            // A copy: a slice would keep all of hyper's buffer.
            buffer: read.into(),
            fragments: None,
            limit,
        }
    }

    /// The next thing that has come as a whole.
    pub(super) fn next(&mut self) -> Result<Option<Received>, Violation> {
        while let Some((header, payload)) = self.next_frame()? {
            match header.opcode {
                OpCode::Control(Control::Ping) => {
                    return Ok(Some(Received::Ping(payload.freeze())));
                }
                OpCode::Control(Control::Close) => {
                    let answer = answer_to_close(payload.freeze())?;
                    return Ok(Some(Received::Close(answer)));
                }
                OpCode::Data(kind) => {
                    if let Some(data) = self.add_part(kind, header.is_final, payload)? {
                        return Ok(Some(Received::Message(data)));
                    }
                }
                // Pongs that nobody asked for are allowed, and no others come.
                OpCode::Control(Control::Pong | Control::Reserved(_)) => {}
            }
        }
        Ok(None)
    }

    /// Reads what the kernel has. Gives how much it was: nothing at the end of the stream.
    pub(super) fn poll_fill(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if !self.buffer.is_empty() {
            let missing = self.missing(&self.buffer);
            self.buffer.reserve(missing);
            return pin!(io.read_buf(&mut self.buffer)).poll(cx);
        }
        // Where there is nothing half done, all connections of a thread read to the same place, and
        // what has come is copied from there: an idle one needs no buffer.
        let mut bytes = SCRATCH.take();
        bytes.resize(READ_SIZE, 0);
        let mut read = ReadBuf::new(&mut bytes);
        let result = Pin::new(io).poll_read(cx, &mut read);
        let read = read.filled();
        if !read.is_empty() {
            // A little is mostly a whole frame.
            let missing = if read.len() < MAYBE_A_PART {
                0
            } else {
                self.missing(read)
            };
            self.buffer = copy(read, read.len() + missing);
        }
        SCRATCH.set(bytes);
        ready!(result)?;
        Poll::Ready(Ok(self.buffer.len()))
    }

    /// Takes a whole frame from the buffer, its payload unmasked.
    fn next_frame(&mut self) -> Result<Option<(FrameHeader, BytesMut)>, Violation> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let Some((header, start, len)) = self.header(&self.buffer)? else {
            return Ok(None);
        };
        let end = start + len;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let mut payload = self.buffer.split_to(end);
        if self.buffer.is_empty() {
            let rest = mem::take(&mut self.buffer);
            if end <= READ_SIZE {
                SPARE.set(rest);
            }
        } else if end > READ_SIZE && self.buffer.len() < end / 8 {
            // The end of it may not come for long, and would keep the place of the large frame.
            self.buffer = copy(&self.buffer, MIN_COPY.max(self.buffer.len()));
        }
        payload.advance(start);
        unmask(&mut payload, header.mask.unwrap_or_default());
        Ok(Some((header, payload)))
    }

    /// The header at the front of the buffer, its length and that of the payload. What breaks a rule
    /// by its header alone need not come as a whole.
    fn header(&self, bytes: &[u8]) -> Result<Option<(FrameHeader, usize, usize)>, Violation> {
        if bytes.len() < MIN_HEADER {
            return Ok(None);
        }
        let mut cursor = Cursor::new(bytes);
        let header = FrameHeader::parse(&mut cursor).map_err(|_| Violation::InvalidFrame)?;
        let Some((header, len)) = header else {
            return Ok(None);
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > self.limit {
            return Err(Violation::MessageTooLarge);
        }
        let is_reserved = header.rsv1 || header.rsv2 || header.rsv3;
        if is_reserved || header.mask.is_none() {
            return Err(Violation::InvalidFrame);
        }
        match (header.opcode, &self.fragments) {
            (OpCode::Control(_), _) if header.is_final && len <= MAX_CONTROL => {}
            (OpCode::Data(DataCode::Text | DataCode::Binary), None) => {}
            (OpCode::Data(DataCode::Continue), Some(before)) => {
                if len > self.limit - before.bytes.len() {
                    return Err(Violation::MessageTooLarge);
                }
            }
            _ => return Err(Violation::InvalidFrame),
        }
        let start = cursor.position() as usize;
        Ok(Some((header, start, len)))
    }

    /// How many bytes there must be room for beside these, so that the frame at the front comes to its
    /// end. One that says that it is large is believed as far as it has come, or a little further.
    fn missing(&self, bytes: &[u8]) -> usize {
        match self.header(bytes) {
            Ok(Some((_, start, len))) => {
                let missing = (start + len).saturating_sub(bytes.len());
                missing.min(BELIEF * bytes.len())
            }
            _ => MAX_HEADER,
        }
    }

    /// A frame with data: a message, or a part of one.
    fn add_part(
        &mut self,
        kind: DataCode,
        is_final: bool,
        payload: BytesMut,
    ) -> Result<Option<Data>, Violation> {
        let (is_text, bytes) = match (kind, self.fragments.take()) {
            (DataCode::Continue, Some(mut fragments)) => {
                fragments.bytes.extend_from_slice(&payload);
                if !is_final {
                    self.fragments = Some(fragments);
                    return Ok(None);
                }
                (fragments.is_text, fragments.bytes)
            }
            (DataCode::Text | DataCode::Binary, None) => {
                let is_text = kind == DataCode::Text;
                if !is_final {
                    // A copy: what follows is added to it.
                    let bytes = BytesMut::from(&payload[..]);
                    self.fragments = Some(Box::new(Fragments { is_text, bytes }));
                    return Ok(None);
                }
                (is_text, payload)
            }
            _ => return Err(Violation::InvalidFrame),
        };
        let bytes = bytes.freeze();
        Ok(Some(if is_text {
            Data::Text(Str::try_from(bytes).map_err(|_| Violation::InvalidUtf8)?)
        } else {
            Data::Binary(bytes)
        }))
    }
}

/// The payload of a close frame is answered with itself, unless it makes no sense.
fn answer_to_close(payload: Bytes) -> Result<Bytes, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload.len() {
            0 => Ok(payload),
            _ => Err(Violation::InvalidFrame),
        };
    };
    if str::from_utf8(reason).is_err() {
        return Err(Violation::InvalidUtf8);
    }
    if CloseCode::from(u16::from_be_bytes(*code)).is_allowed() {
        Ok(payload)
    } else {
        Ok(super::payload_of(CloseCode::Protocol))
    }
}

/// Removes, or applies, the mask of a frame: eight bytes at a time, or more where the compiler sees fit.
fn unmask(bytes: &mut [u8], [a, b, c, d]: [u8; 4]) {
    let mask = [a, b, c, d, a, b, c, d];
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// A copy in a buffer that may be the last one again, if nobody has kept a message of that: most
/// messages are gone when the next one comes. It is hardly larger than it must be, as whoever keeps a
/// message keeps all of it.
///
/// There is room for so many bytes in it.
fn copy(bytes: &[u8], room: usize) -> BytesMut {
    let mut spare = SPARE.take();
    let most = room.next_power_of_two().max(MIN_COPY);
    // No smaller, or it may be the end of a larger one that is in use.
    if !spare.try_reclaim(most) || spare.capacity() > most {
        spare = BytesMut::with_capacity(if room > READ_SIZE { room } else { most });
    }
    spare.extend_from_slice(bytes);
    spare
}

thread_local! {
    /// Where the connections of a thread read to.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };

    /// What the last messages of this thread were copied to.
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// So large is a copy of what has come at the least.
const MIN_COPY: usize = 256;

/// How many times as much as has come of a large message there may be room for.
const BELIEF: usize = 3;

/// From here on what has come may be the beginning of something that is worth one buffer from the start.
const MAYBE_A_PART: usize = 2 * 1024;

/// How much is read at once. Of a larger message so much is copied, and the rest is read to its
/// place.
const READ_SIZE: usize = 32 * 1024;

/// RFC 6455, section 5.5.
const MAX_CONTROL: usize = 125;

/// RFC 6455, section 5.2: two bytes, a length of eight, a mask of four.
const MIN_HEADER: usize = 2;
const MAX_HEADER: usize = 14;

#[cfg(test)]
mod tests;
