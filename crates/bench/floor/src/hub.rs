//! Who is there, and what they say to each other.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use crate::{
    connection::Conn,
    frame::{BINARY, TEXT, push_header},
};

#[derive(Default)]
pub(crate) struct Hub {
    /// Who has joined `/`.
    members: RefCell<Vec<Rc<Session>>>,
    rooms: RefCell<HashMap<Vec<u8>, Vec<Rc<Session>>>>,
    /// Those that began with polling.
    polling: RefCell<HashMap<u64, Rc<Session>>>,
    last_sid: Cell<u64>,
    /// What has something to say at the end of the turn.
    dirty: RefCell<Vec<Rc<Conn>>>,
    answerable: RefCell<Vec<Rc<Session>>>,
}

pub(crate) struct Session {
    pub(crate) sid: u64,
    /// The WebSocket, if it is the transport.
    socket: RefCell<Option<Rc<Conn>>>,
    /// The poll that waits.
    poll: RefCell<Option<Rc<Conn>>>,
    /// What the next poll will carry.
    payload: RefCell<Vec<u8>>,
    /// Its place among the members.
    place: Cell<Option<usize>>,
    rooms: RefCell<Vec<Vec<u8>>>,
}

impl Hub {
    pub(crate) fn open(&self, socket: Option<Rc<Conn>>) -> Rc<Session> {
        let sid = self.last_sid.get() + 1;
        self.last_sid.set(sid);
        let polling = socket.is_none();
        let session = Rc::new(Session {
            sid,
            socket: socket.into(),
            poll: RefCell::default(),
            payload: RefCell::default(),
            place: Cell::default(),
            rooms: RefCell::default(),
        });
        if polling {
            self.polling.borrow_mut().insert(sid, session.clone());
        }
        session
    }

    pub(crate) fn session(&self, sid: u64) -> Option<Rc<Session>> {
        self.polling.borrow().get(&sid).cloned()
    }

    pub(crate) fn close(&self, session: &Session) {
        self.leave(session);
        self.polling.borrow_mut().remove(&session.sid);
        if let Some(poll) = session.poll.take() {
            self.respond(&poll, b"6");
        }
        session.socket.take();
    }

    fn leave(&self, session: &Session) {
        let Some(place) = session.place.take() else {
            return;
        };
        let mut members = self.members.borrow_mut();
        members.swap_remove(place);
        if let Some(moved) = members.get(place) {
            moved.place.set(Some(place));
        }
        let mut rooms = self.rooms.borrow_mut();
        for room in session.rooms.take() {
            if let Some(members) = rooms.get_mut(&room) {
                members.retain(|it| it.sid != session.sid);
            }
        }
    }

    /// What an open session is told first.
    pub(crate) fn open_packet(session: &Session, upgrades: &str) -> Vec<u8> {
        let sid = session.sid;
        format!(
            r#"0{{"sid":"{sid:020}","upgrades":[{upgrades}],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
        )
        .into()
    }

    /// A text message from the client.
    pub(crate) fn on_text(&self, session: &Rc<Session>, text: &[u8]) {
        if let Some(rest) = text.strip_prefix(br#"42["message","#) {
            self.send(session, &[br#"42["message-back","#, rest]);
        } else if let Some(rest) = text.strip_prefix(br#"451-["message","#) {
            self.send(session, &[br#"451-["message-back","#, rest]);
        } else if text.starts_with(br#"42["broadcast","#) {
            for_each(&self.members.borrow(), text, |to, frame| {
                self.push(to, frame)
            });
        } else if let Some(rest) = text.strip_prefix(br#"42["room-broadcast",""#) {
            let end = rest.iter().position(|&byte| byte == b'"').unwrap_or(0);
            let (room, rest) = (&rest[..end], &rest[end + 2..]);
            let message = [br#"42["room-broadcast","#, rest].concat();
            if let Some(members) = self.rooms.borrow().get(room) {
                for_each(members, &message, |to, frame| self.push(to, frame));
            }
        } else if let Some(rest) = text.strip_prefix(br#"42["join",""#) {
            let room = &rest[..rest.len() - 2];
            let mut rooms = self.rooms.borrow_mut();
            let members = rooms.entry(room.into()).or_default();
            members.push(session.clone());
            session.rooms.borrow_mut().push(room.into());
        } else if text == b"40" {
            self.join(session);
            let sid = session.sid;
            let connected = format!(r#"40{{"sid":"{sid:020}"}}"#);
            self.send(session, &[connected.as_bytes()]);
        } else if text == b"41" {
            self.leave(session);
        } else if let Some(end) = text.iter().position(|&byte| byte == b'[') {
            let id = &text[2..end];
            if let Some(rest) = text[end..].strip_prefix(br#"["message-with-ack","#) {
                self.send(session, &[b"43", id, b"[", rest]);
            }
        }
    }

    /// A binary message: it belongs to the `message` before it.
    pub(crate) fn on_binary(&self, session: &Session, bytes: &[u8]) {
        let Some(conn) = &*session.socket.borrow() else {
            return;
        };
        push_header(&mut conn.out.borrow_mut(), BINARY, bytes.len());
        conn.push_bytes(bytes);
        self.mark(conn);
    }

    pub(crate) fn join(&self, session: &Rc<Session>) {
        let mut members = self.members.borrow_mut();
        session.place.set(Some(members.len()));
        members.push(session.clone());
    }

    /// Sends a text message that is made of these parts.
    pub(crate) fn send(&self, session: &Rc<Session>, parts: &[&[u8]]) {
        if let Some(conn) = &*session.socket.borrow() {
            conn.push_text(parts);
            self.mark(conn);
            return;
        }
        let payload = &mut *session.payload.borrow_mut();
        if payload.is_empty() {
            self.answerable.borrow_mut().push(session.clone());
        } else {
            payload.push(0x1e);
        }
        for part in parts {
            payload.extend_from_slice(part);
        }
    }

    /// Sends a text message whose frame is made already.
    fn push(&self, session: &Rc<Session>, message: &Message<'_>) {
        match &*session.socket.borrow() {
            Some(conn) => {
                conn.out.borrow_mut().extend_from_slice(&message.frame);
                self.mark(conn);
            }
            None => self.send(session, &[message.text]),
        }
    }

    /// A poll comes: it is answered at the end of the turn, or when there is something to say.
    pub(crate) fn poll(&self, session: &Rc<Session>, conn: &Rc<Conn>) {
        *session.poll.borrow_mut() = Some(conn.clone());
        self.answerable.borrow_mut().push(session.clone());
    }

    /// The candidate has been probed: the poll that waits is let go.
    pub(crate) fn release_poll(&self, session: &Session) {
        if let Some(poll) = session.poll.take() {
            self.respond(&poll, b"6");
        }
    }

    pub(crate) fn upgrade(&self, session: &Session, conn: &Rc<Conn>) {
        for packet in session.payload.take().split(|&byte| byte == 0x1e) {
            if !packet.is_empty() {
                conn.push_text(&[packet]);
            }
        }
        self.mark(conn);
        *session.socket.borrow_mut() = Some(conn.clone());
    }

    pub(crate) fn respond(&self, conn: &Rc<Conn>, body: &[u8]) {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut out = conn.out.borrow_mut();
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(body);
        drop(out);
        self.mark(conn);
    }

    pub(crate) fn mark(&self, conn: &Rc<Conn>) {
        if !conn.dirty.replace(true) {
            self.dirty.borrow_mut().push(conn.clone());
        }
    }

    /// The end of a turn: everything leaves.
    pub(crate) fn flush(&self) {
        for session in self.answerable.borrow_mut().drain(..) {
            if session.payload.borrow().is_empty() {
                continue;
            }
            if let Some(poll) = session.poll.take() {
                self.respond(&poll, &session.payload.take());
            }
        }
        for conn in self.dirty.borrow_mut().drain(..) {
            conn.dirty.set(false);
            conn.flush();
        }
    }
}

struct Message<'a> {
    text: &'a [u8],
    frame: Vec<u8>,
}

/// Makes the frame once, for all.
fn for_each(members: &[Rc<Session>], text: &[u8], push: impl Fn(&Rc<Session>, &Message<'_>)) {
    let mut frame = Vec::with_capacity(text.len() + 10);
    push_header(&mut frame, TEXT, text.len());
    frame.extend_from_slice(text);
    let message = Message { text, frame };
    for member in members {
        push(member, &message);
    }
}
