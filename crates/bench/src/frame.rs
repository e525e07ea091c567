//! WebSocket frames, the client's side of RFC 6455.

use anyhow::{Result, bail, ensure};

/// What the client masks with. Any key will do, but one that changes nothing might be cheaper for
/// the server than what clients send.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Where a [`Template`] has its number.
pub(crate) const MARK: &str = "############";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
}

/// A frame from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: Opcode,
    pub(crate) payload: &'a [u8],
}

/// Appends a frame from the client, masked; returns where its payload begins.
pub(crate) fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) -> usize {
    out.push(0x80 | opcode as u8);
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        medium @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let begin = out.len();
    let masked = payload.iter().zip(MASK.iter().cycle());
    out.extend(masked.map(|(byte, key)| byte ^ key));
    begin
}

/// Finds the next frame from the server; `None` if it is not complete. Returns where its payload
/// begins and ends.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(Opcode, usize, usize)>> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    let (header, len) = match (second, rest) {
        (0..126, _) => (2, usize::from(second)),
        (126, &[a, b, ..]) => (4, usize::from(u16::from_be_bytes([a, b]))),
        (127, &[a, b, c, d, e, f, g, h, ..]) => {
            (10, u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize)
        }
        (128.., _) => bail!("the server's frame is masked"),
        _ => return Ok(None),
    };
    let opcode = match first {
        0x81 => Opcode::Text,
        0x82 => Opcode::Binary,
        0x88 => Opcode::Close,
        other => bail!("a frame that starts with {other:#x}"),
    };
    ensure!(len < 1 << 26, "a frame of {len} bytes");
    let end = header + len;
    Ok((bytes.len() >= end).then_some((opcode, header, end)))
}

/// One message or several, with a number that can be changed in place, wherever [`MARK`] stood.
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Position of a number, and of the mask there: for the server's frames, none.
    marks: Vec<(usize, Option<usize>)>,
}

impl Template {
    /// Frames from the client.
    pub(crate) fn frames(messages: &[(Opcode, Vec<u8>)]) -> Self {
        let mut bytes = Vec::new();
        let mut marks = Vec::new();
        for (opcode, payload) in messages {
            let begin = encode(&mut bytes, *opcode, payload);
            marks.extend(find_marks(payload).map(|at| (begin + at, Some(at))));
        }
        Self { bytes, marks }
    }

    /// The bytes as they are.
    pub(crate) fn plain(bytes: Vec<u8>) -> Self {
        let marks = find_marks(&bytes).map(|at| (at, None)).collect();
        Self { bytes, marks }
    }

    pub(crate) fn numbered(&mut self, number: u64) -> &[u8] {
        let mut digits = [0; MARK.len()];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        for &(at, masked) in &self.marks {
            for (i, digit) in digits.iter().enumerate() {
                let key = masked.map_or(0, |phase| MASK[(phase + i) % 4]);
                self.bytes[at + i] = digit ^ key;
            }
        }
        &self.bytes
    }
}

fn find_marks(payload: &[u8]) -> impl Iterator<Item = usize> {
    let windows = payload.windows(MARK.len()).enumerate();
    windows.filter_map(|(at, window)| (window == MARK.as_bytes()).then_some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmask(frame: &[u8], begin: usize) -> Vec<u8> {
        let payload = frame[begin..].iter().enumerate();
        payload.map(|(i, byte)| byte ^ MASK[i % 4]).collect()
    }

    #[test]
    fn lengths_take_the_shortest_form() {
        for (len, header) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let mut frame = Vec::new();
            let payload = vec![7; len];
            assert_eq!(encode(&mut frame, Opcode::Binary, &payload), header);
            assert_eq!(unmask(&frame, header), payload);
        }
    }

    #[test]
    fn a_frame_is_found_once_it_is_complete() {
        let mut frame = vec![0x81, 126, 1, 0];
        frame.resize(4 + 256, b'x');
        for len in 0..frame.len() {
            assert_eq!(decode(&frame[..len]).unwrap(), None);
        }
        frame.push(0x81);
        assert_eq!(decode(&frame).unwrap(), Some((Opcode::Text, 4, 260)));
    }

    #[test]
    fn a_fragment_is_an_error() {
        assert!(decode(&[0x01, 0]).is_err());
    }

    #[test]
    fn a_number_is_changed_wherever_it_stands() {
        let text = format!("42{MARK}[\"x\",\"{MARK}\"]").into_bytes();
        let mut request = Template::frames(&[(Opcode::Text, text.clone())]);
        let mut expected = Template::plain(text);
        for number in [0, 12_345, 999_999_999_999, 1_000_000_000_001] {
            let number_shown = number % 1_000_000_000_000;
            let wanted = format!("42{number_shown:012}[\"x\",\"{number_shown:012}\"]");
            assert_eq!(unmask(request.numbered(number), 6), wanted.as_bytes());
            assert_eq!(expected.numbered(number), wanted.as_bytes());
        }
    }
}
