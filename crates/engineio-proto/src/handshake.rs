//! The open packet.

use std::time::Duration;

use serde::Serialize;

use crate::{Packet, PacketKind, query::Transport};

/// What the server tells a new client, in the key order of the official server.
///
/// Source: Engine.IO protocol 4, "Handshake". Version 3 clients ignore `maxPayload`.
#[derive(Clone, Debug)]
pub struct Open<'a> {
    /// The session id.
    pub sid: &'a str,
    /// The transports that the client may upgrade to.
    pub upgrades: &'a [Transport],
    /// Time from open, and then from each pong, to the next ping.
    pub ping_interval: Duration,
    /// Time for the answer to a ping.
    pub ping_timeout: Duration,
    /// The largest message the server takes, in bytes.
    pub max_payload: usize,
}

impl Open<'_> {
    /// The packet `0{"sid":…}`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use engineio_proto::{Data, Open, query::Transport};
    ///
    /// let open = Open {
    ///     sid: "lv_VI97HAXpY6yYWAAAC",
    ///     upgrades: &[Transport::WebSocket],
    ///     ping_interval: Duration::from_millis(25_000),
    ///     ping_timeout: Duration::from_millis(20_000),
    ///     max_payload: 1_000_000,
    /// };
    /// let expected = r#"{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    /// assert_eq!(open.packet().data, Data::from(expected));
    /// ```
    pub fn packet(&self) -> Packet {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            sid: &'a str,
            upgrades: Vec<&'static str>,
            ping_interval: u64,
            ping_timeout: u64,
            max_payload: usize,
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let wire = Wire {
            sid: self.sid,
            upgrades: self.upgrades.iter().map(|it| it.name()).collect(),
            ping_interval: millis(self.ping_interval),
            ping_timeout: millis(self.ping_timeout),
            max_payload: self.max_payload,
        };
        let json = serde_json::to_string(&wire).expect("strings and numbers always serialise");
        Packet::control(PacketKind::Open, json.into())
    }
}
