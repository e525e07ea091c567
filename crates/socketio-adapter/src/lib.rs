//! Rooms of a Socket.IO server.
