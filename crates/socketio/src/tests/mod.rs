//! The rules of the Socket.IO layer, without a port and without a driver: messages go in by hand,
//! and what is sent is read from a detached session.

mod acks;
mod broadcast;
mod catch_all;
mod connect;
mod disconnect;
mod disconnecting;
mod dynamic;
mod events;
mod lifetimes;
mod locks;
mod many;
mod old_clients;
mod order;
mod outgoing;
mod packet_middleware;
mod parser;
mod peer;
mod races;
mod random;
mod recovery;
mod recovery_elsewhere;
mod recovery_races;
mod removal;
mod reports;
mod sizes;
mod typed;
