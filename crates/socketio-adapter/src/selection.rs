//! Whom a broadcast reaches.

use std::sync::Arc;

/// The name of a room. The id of a member is the name of a room too: its own.
pub type Room = Arc<str>;

/// Whom a broadcast reaches: the union of the rooms, without whoever is in one of the excepted
/// rooms. Without any room: everybody, with the same exception.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The rooms; none means everybody.
    pub rooms: Vec<Room>,
    /// Members of these rooms are left out.
    pub except: Vec<Room>,
}

impl Selection {
    /// Everybody.
    pub const fn all() -> Self {
        Self {
            rooms: Vec::new(),
            except: Vec::new(),
        }
    }

    /// The members of one room.
    pub fn room(room: impl Into<Room>) -> Self {
        Self {
            rooms: vec![room.into()],
            except: Vec::new(),
        }
    }
}
