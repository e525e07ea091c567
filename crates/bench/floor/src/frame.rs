//! WebSocket frames.

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;

/// A frame from a client.
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    mask: [u8; 4],
    /// Where the payload begins and ends.
    pub(crate) begin: usize,
    pub(crate) end: usize,
}

impl Frame {
    /// The header at the start of the bytes; the payload need not be there yet.
    pub(crate) fn header(bytes: &[u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (at, len) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(*bytes[2..].first_chunk()?))),
            127 => (10, u64::from_be_bytes(*bytes[2..].first_chunk()?)),
            len => (2, u64::from(len)),
        };
        let mask = *bytes.get(at..)?.first_chunk()?;
        Some(Self {
            opcode: first & 0x0f,
            mask,
            begin: at + 4,
            end: at + 4 + len as usize,
        })
    }

    /// Unmasks the payload in place.
    pub(crate) fn payload<'a>(&self, bytes: &'a mut [u8]) -> &'a mut [u8] {
        let payload = &mut bytes[self.begin..self.end];
        let mut words = payload.chunks_exact_mut(4);
        let mask = u32::from_ne_bytes(self.mask);
        for word in &mut words {
            let unmasked = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]) ^ mask;
            word.copy_from_slice(&unmasked.to_ne_bytes());
        }
        for (byte, mask) in words.into_remainder().iter_mut().zip(self.mask) {
            *byte ^= mask;
        }
        payload
    }
}

/// Appends the header of a frame from the server.
pub(crate) fn push_header(out: &mut Vec<u8>, opcode: u8, len: usize) {
    out.push(0x80 | opcode);
    match len {
        0..126 => out.push(len as u8),
        126..0x1_0000 => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}
