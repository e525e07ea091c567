//! Who listens to what is sent.

use std::{fmt, sync::Arc};

use socketio_proto::{Args, ToArgs};

use crate::{
    Namespace, Socket,
    handler::{Handlers, guarded, panic_error},
};

/// An event that has been sent; see [`Namespace::on_any_outgoing`].
#[derive(Clone, Copy)]
pub struct OutgoingEvent<'a> {
    name: &'a str,
    args: &'a Args,
}

impl<'a> OutgoingEvent<'a> {
    /// The event's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its arguments.
    pub fn args(&self) -> &'a Args {
        self.args
    }
}

impl fmt::Debug for OutgoingEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingEvent")
            .field("name", &self.name)
            .field("args", &self.args)
            .finish()
    }
}

/// A function that is told what is sent.
pub(crate) type OutgoingListener = Arc<dyn Fn(&Socket, &OutgoingEvent<'_>) + Send + Sync>;

/// Tells those who listen that an event has been sent to a socket.
pub(crate) fn notify<A: ToArgs + ?Sized>(socket: &Socket, event: &str, args: &A) {
    if let Some(mut audience) = Audience::of(socket.namespace()) {
        audience.add(socket);
        audience.tell(event, args);
    }
}

/// The sockets that a broadcast reaches, as far as anybody listens: they are collected under the
/// locks of the registry, and told without.
pub(crate) struct Audience {
    handlers: Arc<Handlers>,
    sockets: Vec<Socket>,
}

impl Audience {
    /// Nothing if nobody listens in this namespace; that costs next to nothing.
    pub(crate) fn of(namespace: &Namespace) -> Option<Self> {
        namespace.has_outgoing_listeners().then(|| Self {
            handlers: namespace.handlers().current(),
            sockets: Vec::new(),
        })
    }

    /// The event has been handed over to the connection of this socket.
    pub(crate) fn add(&mut self, socket: &Socket) {
        if self.handlers.listeners.outgoing.len() > 0 || socket.has_listeners() {
            self.sockets.push(socket.clone());
        }
    }

    /// Calls the listeners: for each socket those of the namespace, then its own.
    pub(crate) fn tell<A: ToArgs + ?Sized>(self, event: &str, args: &A) {
        let mut made = None;
        for socket in &self.sockets {
            let own = socket.listeners();
            let own = own.iter().flat_map(|own| own.outgoing.iter());
            for listener in self.handlers.listeners.outgoing.iter().chain(own) {
                // What has been sent can be written a second time.
                let Some(args) = made.get_or_insert_with(|| Args::new(args).ok()) else {
                    return;
                };
                let outgoing = OutgoingEvent { name: event, args };
                if let Err(panic) = guarded(|| listener(socket, &outgoing)) {
                    socket.report(Some(event), panic_error(&*panic));
                }
            }
        }
    }
}
