//! Session ids.

use std::{borrow::Borrow, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The id of a session: what a polling client authenticates with, so it must not be guessable and
/// must not be shown to others.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sid(Arc<str>);

impl Sid {
    /// How many random bytes an id is made of.
    pub const RANDOM_BYTES: usize = 15;

    /// Makes an id of 20 URL-safe characters.
    ///
    /// The bytes must come from a cryptographic random generator.
    ///
    /// ```
    /// let sid = engineio_proto::Sid::from_random([0; 15]);
    /// assert_eq!(sid.as_str(), "AAAAAAAAAAAAAAAAAAAA");
    /// ```
    pub fn from_random(bytes: [u8; Self::RANDOM_BYTES]) -> Self {
        let mut id = [0; 20];
        let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut id);
        debug_assert_eq!(written, Ok(id.len()));
        Self(std::str::from_utf8(&id).expect("base64 is ASCII").into())
    }

    /// Makes an id of a random UUID (version 4): of its 122 random bits, the 118 outside of the byte
    /// that holds the version.
    pub fn from_uuid(uuid: [u8; 16]) -> Self {
        let mut random = [0; Self::RANDOM_BYTES];
        random[..6].copy_from_slice(&uuid[..6]);
        random[6..].copy_from_slice(&uuid[7..]);
        Self::from_random(random)
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Sid {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<Sid> for Arc<str> {
    fn from(sid: Sid) -> Self {
        sid.0
    }
}

impl Borrow<str> for Sid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Shows the first characters only: whoever reads a log must not be able to take over a session.
impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({}…)", self.0.chars().take(4).collect::<String>())
    }
}
