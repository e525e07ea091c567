//! Who pings whom, per version, and when silence is too long.
//!
//! | | version 4 | version 3 |
//! |---|---|---|
//! | pings | the server, `ping_interval` after open and after each pong | the client |
//! | too long | no pong `ping_timeout` after the ping was due | no ping for `ping_interval + ping_timeout` |
//!
//! Source: Engine.IO protocol, "Heartbeat". As in the official server since 6.6.11, while a pong is
//! awaited the first packet of any other kind moves the deadline once.

use std::time::{Duration, Instant};

use crate::{PacketKind, Version, Violation};

/// The heartbeat of one session.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    /// When the next thing is due: a ping to send, or the session's end.
    due: Instant,
    phase: Phase,
    /// Nothing is read at the moment, so silence says nothing about the peer.
    paused: bool,
    /// How often that was the reason not to give the peer up.
    forgiven: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Version 4: `due` is the next ping.
    Resting,
    /// Version 4: `due` is the end unless a pong comes.
    Awaiting { extended: bool },
    /// Version 3: `due` is the end unless a ping comes.
    Listening,
}

/// What is to be done for a packet that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Nothing,
    Pong,
}

/// What a moment in time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Nothing,
    Ping,
    Dead,
}

impl Heartbeat {
    pub(super) fn new(
        version: Version,
        interval: Duration,
        timeout: Duration,
        now: Instant,
    ) -> Self {
        let (due, phase) = match version {
            Version::V4 => (now + interval, Phase::Resting),
            Version::V3 => (now + interval + timeout, Phase::Listening),
        };
        Self {
            interval,
            timeout,
            due,
            phase,
            paused: false,
            forgiven: 0,
        }
    }

    /// A packet has arrived.
    pub(super) fn on_packet(
        &mut self,
        version: Version,
        kind: PacketKind,
        now: Instant,
    ) -> Result<Reply, Violation> {
        match (version, kind) {
            (Version::V4, PacketKind::Pong) => {
                self.phase = Phase::Resting;
                self.due = now + self.interval;
            }
            (Version::V3, PacketKind::Ping) => {
                self.phase = Phase::Listening;
                self.due = now + self.interval + self.timeout;
                return Ok(Reply::Pong);
            }
            (Version::V4, PacketKind::Ping) | (Version::V3, PacketKind::Pong) => {
                return Err(Violation::HeartbeatDirection);
            }
            _ => {
                if self.phase == (Phase::Awaiting { extended: false }) {
                    self.phase = Phase::Awaiting { extended: true };
                    self.due = now + self.timeout;
                }
            }
        }
        Ok(Reply::Nothing)
    }

    /// Time has passed. Deadlines count from when a ping was due, so a late timer does not give
    /// the peer more time than was announced.
    pub(super) fn on_time(&mut self, now: Instant) -> Beat {
        if now < self.due {
            return Beat::Nothing;
        }
        let forgiven = self.paused && self.forgiven < MAX_FORGIVEN;
        match self.phase {
            Phase::Resting => {
                self.phase = Phase::Awaiting { extended: false };
                self.due += self.timeout;
                if now >= self.due {
                    // The process slept through the whole exchange; the peer was never asked.
                    self.due = now + self.timeout;
                }
                Beat::Ping
            }
            // A peer that is there needs its pings, and writing to one that is gone fails. But a
            // peer that is never read again must not be kept for ever.
            Phase::Awaiting { .. } if forgiven => {
                self.forgiven += 1;
                self.due = now + self.interval;
                Beat::Ping
            }
            Phase::Listening if forgiven => {
                self.forgiven += 1;
                self.due = now + self.interval + self.timeout;
                Beat::Nothing
            }
            Phase::Awaiting { .. } | Phase::Listening => Beat::Dead,
        }
    }

    /// Nothing will be read for a while.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// Reading goes on: the peer gets its whole time once more.
    pub(super) fn resume(&mut self, now: Instant) {
        self.paused = false;
        self.forgiven = 0;
        match &mut self.phase {
            Phase::Resting => {}
            Phase::Awaiting { extended } => {
                *extended = true;
                self.due = now + self.timeout;
            }
            Phase::Listening => self.due = now + self.interval + self.timeout,
        }
    }

    /// When [`on_time`](Self::on_time) wants to be called.
    pub(super) fn next(&self) -> Instant {
        self.due
    }
}

/// How many deadlines may pass while nothing is read.
const MAX_FORGIVEN: u8 = 10;
