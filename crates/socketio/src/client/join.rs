//! How a client comes into a namespace.

use std::task::Context;

use engineio::Version;
use socketio_proto::{EncodeError, Encoded};

use super::{
    Client,
    search::{Found, Search, needs_restoring},
    slot::{Slot, Stage},
};
use crate::{
    ConnectError, ErrorReport, Handshake, Socket,
    error::HandlerError,
    handler::{Connect, admission},
    in_flight::{Done, Work},
    namespaces::Seat,
    recovery::Recoverable,
};

impl Client {
    /// The client wants to join a namespace that it is not in.
    pub(super) fn join(&mut self, name: &str, auth: Option<Box<str>>, cx: &mut Context<'_>) {
        if self.closed {
            return;
        }
        let count = self.slots.len() + self.searches.len();
        if count >= self.io.options().max_namespaces_per_client && !self.forget_one() {
            return self.not_joined(name, "Too many namespaces");
        }
        let handshake = Handshake::new(self.request.clone(), auth);
        let search = match self.io.seat(name) {
            Some(seat) if self.needs_restoring(&seat, &handshake) => {
                Search::restoring(seat, handshake)
            }
            Some(seat) => return self.enter(seat, handshake, None, cx),
            None => Search::new(self.io.clone(), name, handshake, self.session.version()),
        };
        if let Some(found) = self.searches.start(search, cx) {
            self.found(found, cx);
        }
    }

    /// Forgets the namespace that the server has made the client leave the longest ago: by now the
    /// client knows. `false` if there is none.
    fn forget_one(&mut self) -> bool {
        let is_left = |slot: &Slot| matches!(slot.stage, Stage::Kicked(None));
        let oldest = self.slots.iter().position(is_left);
        oldest.map(|slot| self.slots.remove(slot)).is_some()
    }

    /// A search has come to an end.
    pub(super) fn found(&mut self, found: Found, cx: &mut Context<'_>) {
        match found.seat {
            Ok((seat, restored)) => self.enter(seat, found.handshake, restored, cx),
            Err(error) => self.not_joined(&found.name, error.message()),
        }
    }

    /// There is no such namespace for the client.
    fn not_joined(&mut self, name: &str, message: &str) {
        // The same for clients of protocol 4, as the official server has it.
        let codec = self.io.codec();
        self.tell(codec.connect_error(Version::V4, name, message, None));
    }

    fn needs_restoring(&self, seat: &Seat, handshake: &Handshake) -> bool {
        needs_restoring(self.session.version(), seat, handshake)
    }

    fn enter(
        &mut self,
        seat: Seat,
        handshake: Handshake,
        restored: Option<Recoverable>,
        cx: &mut Context<'_>,
    ) {
        let socket = Socket::new(seat, self.session.clone(), handshake, restored);
        let namespace = socket.namespace().clone();
        let skip = socket.recovered()
            && namespace
                .recovery()
                .is_some_and(|it| it.skips_middlewares());
        let admission = if skip {
            None
        } else {
            admission(&namespace.handlers().current(), &socket)
        };
        if self.slots.is_empty() {
            self.slots.reserve_exact(1);
        }
        self.slots.push(Slot {
            handlers: namespace.handlers().snapshot(),
            namespace,
            stage: Stage::Joining(socket.clone()),
            starting: 0,
            waker: None,
        });
        match admission {
            None => self.admitted(&socket, cx),
            Some(admission) => {
                if let Some(done) = self.in_flight.start(Work::Admit(admission, socket), cx) {
                    self.done(done, cx);
                }
            }
        }
    }

    /// Something that had to wait has finished.
    pub(super) fn done(&mut self, done: Done, cx: &mut Context<'_>) {
        match done {
            Done::Event => {}
            Done::Disconnecting(context, own) => self.disconnected(&context, own.as_deref(), cx),
            Done::Admit(socket, Ok(())) => self.admitted(&socket, cx),
            Done::Admit(socket, Err(error)) => self.refused(&socket, &error),
            Done::Connect(socket) => {
                let slot = self.slots.iter_mut().find(|slot| slot.is_of(&socket));
                if let Some(slot) = slot {
                    slot.starting -= 1;
                }
            }
            Done::Pass(socket, event) => {
                if let Some(at) = self.slots.iter().position(|slot| slot.is_of(&socket)) {
                    self.slots[at].starting -= 1;
                    self.passed(at, event, cx);
                }
            }
        }
    }

    fn admitted(&mut self, socket: &Socket, cx: &mut Context<'_>) {
        let Self {
            slots, in_flight, ..
        } = self;
        let Some(slot) = slots.iter_mut().find(|slot| slot.is_of(socket)) else {
            // The connection has ended meanwhile.
            return;
        };
        self.deadline = None;
        // The packet before the registration: no broadcast may overtake it. It cannot leave
        // before this turn is over.
        let name = slot.namespace.name();
        let codec = slot.namespace.codec();
        let version = self.session.version();
        let admitted = socket.admit(|pid| codec.connect(version, name, socket.id(), pid));
        if let Err(error) = admitted {
            return self.tell(Err(error));
        }
        let context = Connect {
            socket: socket.clone(),
        };
        let mut unfinished = 0;
        for handler in &slot.handlers.refresh(slot.namespace.handlers()).connect {
            if let Some(task) = handler(&context) {
                let work = Work::Connect(task, socket.clone());
                unfinished += usize::from(in_flight.start(work, cx).is_none());
            }
        }
        slot.stage = Stage::Open(context.socket);
        slot.starting = unfinished;
        // The handlers may have disconnected it already.
        self.catch_up(cx);
    }

    fn refused(&mut self, socket: &Socket, error: &ConnectError) {
        if let Some(at) = self.slots.iter().position(|slot| slot.is_of(socket)) {
            socket.refuse();
            self.slots.remove(at);
            if let Some(error) = error.data_error() {
                socket.report(None, HandlerError::Failed(error.into()));
            }
            let (version, name) = (self.session.version(), socket.namespace().name());
            let codec = self.io.codec();
            self.tell(codec.connect_error(version, name, error.message(), error.data()));
        }
    }

    /// Sends what a client that joins waits for. If the application's parser cannot say it, the
    /// client would wait for ever.
    fn tell(&mut self, packet: Result<Encoded, EncodeError>) {
        match packet {
            Ok(packet) => self.session.send_essential(packet),
            Err(error) => {
                self.io.report(&ErrorReport {
                    socket: None,
                    event: None,
                    error: &HandlerError::Encode(error),
                });
                self.close_by_force(None);
            }
        }
    }
}
