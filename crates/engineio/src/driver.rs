//! The one future per session.

use std::{
    cell::LazyCell,
    future::Future,
    mem,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use engineio_proto::{
    CloseReason, Data, Packet, Queue, Violation, frame,
    payload::{self, Framing},
    session::{Event, Lane, LaneChange, Session, Transmit},
};
use tokio::{sync::oneshot, time::Sleep};

use crate::{
    Acceptor, Connection, Server, SessionHandle, clock,
    item::{Item, PollReply, Post},
    sessions::Departure,
    signal::Signal,
    transport::websocket::{Incoming, WebSocket},
    visitors::Visit,
};

/// Moves one session: takes what its transports and its handle bring, lets [`Session`] decide,
/// tells the [`Connection`], and writes what is to leave. One turn is always the same list; see
/// [`turn`](Self::turn).
pub(crate) struct Driver<A: Acceptor> {
    session: Session,
    connection: A::Connection,
    handle: SessionHandle,
    /// A session keeps its server alive.
    server: Server<A>,
    /// The index of a JSONP client's callback.
    jsonp: Option<Box<str>>,
    /// The current transport, or the candidate of an upgrade.
    socket: Option<WebSocket>,
    /// In the turn in which it has come, the session does not know it yet.
    poll: Option<oneshot::Sender<PollReply>>,
    /// Its receiver is told when the session ends while a POST is being read.
    post_open: Option<oneshot::Sender<()>>,
    /// Answers that wait until the application has caught up.
    posts: Vec<oneshot::Sender<Result<(), Violation>>>,
    items: Queue<Item>,
    /// Whether the socket or the timer has woken the task.
    signal: Signal,
    sleep: Pin<Box<Sleep>>,
    /// When `sleep` wakes the task, if it does.
    alarm: Option<Instant>,
    reading_paused: bool,
    /// Something was written of which the connection has not heard that it is gone.
    draining: bool,
    stage: Stage,
    /// Where something is limited by address.
    visit: Option<Visit>,
    /// Once the session is leaving. The last field: the session is gone when all else is.
    departure: Option<Departure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The session is open, or has something left to say.
    Running,
    /// The session is over; its WebSocket is being closed.
    Leaving { deadline: Instant, flushing: bool },
    /// Only what the connection still has in flight is left.
    Settling,
}

/// What a driver is made of.
pub(crate) struct Parts<A: Acceptor> {
    pub(crate) session: Session,
    pub(crate) connection: A::Connection,
    pub(crate) handle: SessionHandle,
    pub(crate) server: Server<A>,
    pub(crate) jsonp: Option<Box<str>>,
    pub(crate) socket: Option<WebSocket>,
    pub(crate) visit: Option<Visit>,
}

impl<A: Acceptor> Driver<A> {
    pub(crate) fn new(parts: Parts<A>) -> Self {
        Self {
            session: parts.session,
            connection: parts.connection,
            handle: parts.handle,
            server: parts.server,
            jsonp: parts.jsonp,
            socket: parts.socket,
            poll: None,
            post_open: None,
            posts: Vec::new(),
            items: Queue::default(),
            signal: Signal::default(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            alarm: None,
            reading_paused: false,
            draining: false,
            stage: Stage::Running,
            departure: None,
            visit: parts.visit,
        }
    }

    /// One turn. `true` if there is more to do at once.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        let now = &Now::new(clock::now);
        let is_signalled = self.signal.take(cx);
        // The socket before the mailbox: a client that finishes its upgrade and then polls has
        // done so in this order.
        let mut more = is_signalled && self.read_socket(cx, now);
        let unread = self.socket.is_none();
        self.take_mailbox(now);
        // After what has arrived: a process that was busy must not blame the peer. But before the
        // polls, which are no sign of life: one that comes after the end finds no session.
        if is_signalled {
            self.look_at_time(cx, now);
        }
        self.park_new_poll(now);
        self.watch_poll(cx, now);
        self.tell_connection(cx);
        let _ = self.connection.poll_progress(cx);
        // A handler that has just finished may have made room.
        self.tell_connection(cx);
        let told = !self.session.has_events();
        // What handlers have just sent leaves in this turn.
        self.take_mailbox(now);
        self.park_new_poll(now);
        self.answer_poll();
        // A poll that has just come is not watched yet.
        self.watch_poll(cx, now);
        more |= self.write_socket(cx, now);
        self.tell_drained(cx);
        // A socket that has just come, or was left alone for a while, is not watched yet.
        more |= unread && self.socket.is_some();
        more |= self.reading_paused && !self.pause_reading(now);
        self.answer_posts(now);
        // What came of all this the connection has not heard yet.
        more |= self.session.has_events() && (told || !self.session.is_open());
        more
    }

    /// Takes frames from the socket, if the application keeps up.
    fn read_socket(&mut self, cx: &mut Context<'_>, now: &Now) -> bool {
        let waker = self.signal.waker(cx);
        let signal = &mut Context::from_waker(&waker);
        for _ in 0..FRAMES_PER_TURN {
            if self.pause_reading(now) {
                return false;
            }
            let Some(socket) = &mut self.socket else {
                return false;
            };
            match socket.poll_read(signal) {
                Poll::Pending => return false,
                Poll::Ready(Incoming::Message(data)) => {
                    self.take_frame(data, now);
                    self.tell_connection(cx);
                }
                Poll::Ready(Incoming::End(change)) => {
                    self.dismiss_socket();
                    let _ = self.session.handle_lane(change, **now);
                }
            }
        }
        true
    }

    fn take_frame(&mut self, data: Data, now: &Now) {
        let result = match frame::decode(data, self.handle.dialect()) {
            Ok(mut packet) => {
                self.show(Lane::Socket, &packet);
                if self.session.has_events() {
                    // It will wait, and count for its own bytes: it must not keep all that was read
                    // together with it.
                    packet.data = copy(&packet.data);
                }
                self.session.handle_packet(Lane::Socket, packet, **now)
            }
            Err(violation) => {
                self.session.handle_violation(Lane::Socket, violation);
                Err(violation)
            }
        };
        if let Err(violation) = result {
            tracing::debug!(sid = ?self.handle.sid(), %violation, "websocket");
        }
        self.dismiss_failed_candidate();
    }

    /// Takes what has come from outside; a poll is left for [`park_new_poll`](Self::park_new_poll).
    #[inline]
    fn take_mailbox(&mut self, now: &Now) {
        if self.handle.mailbox().is_filled() {
            self.handle.mailbox().take(&mut self.items);
            self.take_items(now);
        }
    }

    #[inline(never)]
    fn take_items(&mut self, now: &Now) {
        let mut overlapping = Vec::new();
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::Send(message) => {
                    if self.session.is_open() {
                        self.session.send(message);
                    } else {
                        self.handle.credit(&message);
                    }
                }
                Item::Close(reason) => self.session.close(reason, **now),
                Item::Abort(reason) => self.session.abort(reason),
                Item::Poll(reply) if self.poll.is_none() => self.poll = Some(reply),
                Item::Poll(reply) => overlapping.push(reply),
                Item::PostOpen(open) => {
                    if self.session.closed().is_none() {
                        self.post_open = Some(open);
                    }
                }
                Item::PostOverlap => self.post_failed(LaneChange::PostOverlap, now),
                Item::PostAborted => self.post_failed(LaneChange::PostAborted, now),
                Item::Post(post) => self.take_post(*post, now),
                Item::Socket(socket) => self.attach(*socket, now),
            }
        }
        // Each of them breaks a rule, and the session with it: what came with them comes first.
        for reply in overlapping {
            self.park_new_poll(now);
            self.park(reply, now);
        }
    }

    #[inline]
    fn park_new_poll(&mut self, now: &Now) {
        if !self.session.poll_parked()
            && let Some(reply) = self.poll.take()
        {
            self.park(reply, now);
        }
    }

    fn park(&mut self, reply: oneshot::Sender<PollReply>, now: &Now) {
        match self.session.handle_lane(LaneChange::PollParked, **now) {
            Ok(()) => self.poll = Some(reply),
            Err(violation) => {
                let _ = reply.send(PollReply::Refused(violation));
            }
        }
    }

    fn post_failed(&mut self, change: LaneChange, now: &Now) {
        if self.session.handle_lane(change, **now).is_err() {
            self.post_open = None;
        }
    }

    fn take_post(&mut self, post: Post, now: &Now) {
        self.post_open = None;
        if self.session.lane() == Lane::Socket {
            let _ = post.reply.send(Err(Violation::TransportMismatch));
            return;
        }
        let body = match &self.jsonp {
            Some(_) => payload::jsonp::form_payload(&post.body),
            None => Some(post.body),
        };
        // A form without its field is no payload at all; the official server ignores it too.
        let result = body.map_or(Ok(()), |body| self.take_packets(body, post.framing, now));
        match result {
            Ok(()) => self.posts.push(post.reply),
            Err(violation) => {
                tracing::debug!(sid = ?self.handle.sid(), %violation, "polling");
                let _ = post.reply.send(Err(violation));
            }
        }
    }

    fn take_packets(&mut self, body: Bytes, framing: Framing, now: &Now) -> Result<(), Violation> {
        let max_packets = self.server.max_packets();
        let mut count = 0;
        for packet in payload::decode(body, framing, self.handle.dialect()) {
            count += 1;
            let packet = match packet {
                Ok(_) if count > max_packets => Err(Violation::TooManyPackets),
                other => other,
            };
            match packet {
                Ok(packet) => {
                    self.show(Lane::Polling, &packet);
                    self.session.handle_packet(Lane::Polling, packet, **now)?;
                }
                Err(violation) => {
                    self.session.handle_violation(Lane::Polling, violation);
                    return Err(violation);
                }
            }
        }
        Ok(())
    }

    /// Shows the connection a packet of the session.
    fn show(&mut self, from: Lane, packet: &Packet) {
        if self.session.is_open() && self.session.lane() == from {
            self.connection.on_packet(packet);
        }
    }

    fn attach(&mut self, socket: WebSocket, now: &Now) {
        if self.socket.is_none()
            && self
                .session
                .handle_lane(LaneChange::Attached, **now)
                .is_ok()
        {
            self.socket = Some(socket);
        } else {
            close_alone(socket);
        }
    }

    fn dismiss_socket(&mut self) {
        if let Some(socket) = self.socket.take() {
            close_alone(socket);
        }
    }

    /// A candidate that fell out of step, or whose time is up, is of no more use; the session stays
    /// on polling.
    fn dismiss_failed_candidate(&mut self) {
        if self.session.is_open()
            && self.session.lane() == Lane::Polling
            && !self.session.is_probing()
        {
            self.dismiss_socket();
        }
    }

    /// Notices a client that gave up its poll.
    #[inline]
    fn watch_poll(&mut self, cx: &mut Context<'_>, now: &Now) {
        if self.poll.is_some() {
            self.poll_given_up(cx, now);
        }
    }

    #[inline(never)]
    fn poll_given_up(&mut self, cx: &mut Context<'_>, now: &Now) {
        if let Some(poll) = &mut self.poll
            && poll.poll_closed(cx).is_ready()
        {
            self.poll = None;
            let _ = self.session.handle_lane(LaneChange::PollAborted, **now);
        }
    }

    /// Hands on what the session has for the application. A session that is over waits for nobody.
    fn tell_connection(&mut self, cx: &mut Context<'_>) {
        while self.session.has_events() {
            if self.session.is_open()
                && (self.connection.poll_ready(cx).is_pending() || self.poll_visit(cx).is_pending())
            {
                return;
            }
            match self.session.poll_event() {
                Some(Event::Message(data)) => self.connection.on_message(data, cx),
                Some(Event::Upgraded) => {
                    self.handle.set_upgraded();
                    self.connection.on_upgrade(cx);
                }
                Some(Event::Closed(reason)) => {
                    self.handle.set_closed();
                    let description = self.session.violation().map(Violation::as_str);
                    self.connection.on_close(reason, description, cx);
                }
                None => return,
            }
        }
    }

    /// Whether the client's address may send another message by now.
    fn poll_visit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.visit {
            Some(visit) => visit.poll_message(cx),
            None => Poll::Ready(()),
        }
    }

    #[inline]
    fn answer_poll(&mut self) {
        if self.poll.is_some() {
            self.answer_poll_if_due();
        }
    }

    #[inline(never)]
    fn answer_poll_if_due(&mut self) {
        let Some(items) = self.session.poll_body() else {
            return;
        };
        let (mut plain, mut compress) = (false, false);
        for item in items.iter() {
            self.connection.on_packet_create(item);
            if let Transmit::Message(message) = item {
                self.handle.credit(message);
                plain |= !message.compresses();
                compress |= message.compresses();
            }
        }
        compress |= !plain;
        self.draining = true;
        let body = payload::encode(items, self.handle.dialect(), self.jsonp.as_deref());
        let answer = PollReply::Body { body, compress };
        let delivered = self.poll.take().is_some_and(|it| it.send(answer).is_ok());
        if !delivered {
            self.session
                .handle_violation(Lane::Polling, Violation::PollAborted);
        }
    }

    /// Writes and flushes until the socket is full or nothing is left. `true` if there is more to do at once.
    fn write_socket(&mut self, cx: &mut Context<'_>, now: &Now) -> bool {
        self.dismiss_failed_candidate();
        let Some(socket) = &mut self.socket else {
            self.handle
                .set_writable(self.session.poll_parked() && self.session.is_drained());
            return false;
        };
        let did_wait = socket.waits_for_flush();
        let result = loop {
            while socket.has_room() {
                let Some(item) = self.session.poll_frame() else {
                    break;
                };
                if self.session.lane() == Lane::Socket {
                    self.connection.on_packet_create(&item);
                    self.draining = true;
                }
                match item {
                    Transmit::Control(packet) => socket.write_text(&frame::encode_control(&packet)),
                    Transmit::Message(message) => {
                        self.handle.credit(&message);
                        socket.write(&message);
                    }
                }
            }
            let full = !socket.has_room();
            let flushed = if socket.is_tcp() {
                socket.poll_flush(cx)
            } else {
                // What wakes the writer of another stream may be meant for its reader.
                let waker = self.signal.waker(cx);
                socket.poll_flush(&mut Context::from_waker(&waker))
            };
            match flushed {
                Poll::Ready(Ok(())) if full => continue,
                Poll::Ready(result) => break result,
                Poll::Pending => break Ok(()),
            }
        };
        let flushed = socket.is_flushed();
        let reads_on = did_wait && !socket.waits_for_flush();
        if result.is_err() {
            self.socket = None;
            let _ = self.session.handle_lane(LaneChange::Failed, **now);
            return true;
        }
        self.handle.set_writable(match self.session.lane() {
            Lane::Socket => flushed && self.session.is_drained(),
            Lane::Polling => self.session.poll_parked() && self.session.is_drained(),
        });
        reads_on
    }

    /// Tells the connection when all that was sent is gone.
    #[inline]
    fn tell_drained(&mut self, cx: &mut Context<'_>) {
        let flushed = self.socket.as_ref().is_none_or(|it| it.is_flushed());
        if self.draining && flushed && self.session.is_open() && self.session.is_drained() {
            self.draining = false;
            self.connection.on_drain(cx);
        }
    }

    /// Lets the client post again once the application has caught up.
    #[inline]
    fn answer_posts(&mut self, now: &Now) {
        if !self.posts.is_empty() && !self.pause_reading(now) {
            for post in self.posts.drain(..) {
                let _ = post.send(Ok(()));
            }
        }
    }

    /// Whether the application is so far behind that nothing more is read. Meanwhile the
    /// client's silence does not count against it.
    fn pause_reading(&mut self, now: &Now) -> bool {
        let behind = self.session.is_open() && self.session.inbox_bytes() >= MAX_INBOX;
        match (mem::replace(&mut self.reading_paused, behind), behind) {
            (false, true) => self.session.handle_reading_paused(),
            (true, false) => self.session.handle_reading_resumed(**now),
            _ => {}
        }
        behind
    }

    /// The session is over: nobody finds it any more, and whoever waits for it is let go.
    fn leave(&mut self) {
        self.departure = Some(self.server.table().depart(&self.handle));
        let mut items = self.handle.end();
        while let Some(item) = items.pop_front() {
            if let Item::Socket(socket) = item {
                close_alone(*socket);
            }
        }
        self.poll = None;
        self.post_open = None;
        self.answer_posts(&Now::new(clock::now));
        // What an orderly close left in the socket's buffer has as long as the session had.
        let flushing = self.socket.as_ref().is_some_and(|it| !it.is_flushed())
            && matches!(
                self.session.closed(),
                Some(CloseReason::ForcedClose | CloseReason::ServerShuttingDown)
            );
        let time = if flushing {
            self.session.close_timeout()
        } else {
            CLOSE_TIME
        };
        self.stage = Stage::Leaving {
            deadline: clock::now() + time,
            flushing,
        };
    }

    /// Whether a session that is leaving must not be waited for any more.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.departure {
            Some(departure) => departure.poll_cut(cx),
            None => Poll::Pending,
        }
    }

    /// The runtime's timer, and not the clock, says when: it fires after the runtime has looked at the
    /// sockets, so that what came while another task held the thread has been read.
    fn look_at_time(&mut self, cx: &mut Context<'_>, now: &Now) {
        if let Some(due) = self.session.poll_timeout()
            && due <= **now
            && self.set_alarm(due, cx).is_ready()
        {
            self.session.handle_timeout(**now);
        }
    }

    fn poll_deadline(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let due = tokio::time::Instant::from_std(due);
        if self.sleep.deadline() != due {
            self.sleep.as_mut().reset(due);
        }
        // Whatever else this task has done: a timer that was refused for that would not know it.
        pin!(tokio::task::unconstrained(self.sleep.as_mut())).poll(cx)
    }

    /// Has the task woken when the session wants to know the time. `Ready` if that is now.
    #[inline]
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.session.poll_timeout() {
            // What was asked for already was asked by the same task.
            Some(due) if self.alarm != Some(due) => self.set_alarm(due, cx),
            _ => Poll::Pending,
        }
    }

    #[inline(never)]
    fn set_alarm(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let waker = self.signal.waker(cx);
        let due_now = self.poll_deadline(due, &mut Context::from_waker(&waker));
        self.alarm = due_now.is_pending().then_some(due);
        due_now
    }
}

/// Nothing in it is pinned in place.
impl<A: Acceptor> Unpin for Driver<A> {}

impl<A: Acceptor> Future for Driver<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..TURNS_PER_POLL {
            match this.stage {
                Stage::Running => {
                    let more = this.turn(cx);
                    if this.server.table().is_cut() && this.session.closed().is_none() {
                        this.session.abort(CloseReason::ServerShuttingDown);
                        continue;
                    }
                    if this.session.closed().is_some() && !this.session.has_events() {
                        this.leave();
                        continue;
                    }
                    if more || this.poll_timeout(cx).is_ready() {
                        this.signal.set();
                        continue;
                    }
                    let handle = &this.handle;
                    if handle.mailbox().sleep(|| handle.is_ready(), cx) {
                        return Poll::Pending;
                    }
                }
                Stage::Leaving {
                    mut deadline,
                    flushing,
                } => {
                    let _ = this.connection.poll_progress(cx);
                    let closed = match &mut this.socket {
                        Some(socket) => socket.poll_close(cx).is_ready(),
                        None => true,
                    };
                    if flushing && this.socket.as_ref().is_some_and(|it| it.is_flushed()) {
                        deadline = clock::now() + CLOSE_TIME;
                        this.stage = Stage::Leaving {
                            deadline,
                            flushing: false,
                        };
                    }
                    if !closed
                        && this.poll_cut(cx).is_pending()
                        && this.poll_deadline(deadline, cx).is_pending()
                    {
                        return Poll::Pending;
                    }
                    this.socket = None;
                    this.stage = Stage::Settling;
                }
                Stage::Settling => {
                    return match this.connection.poll_progress(cx) {
                        Poll::Ready(()) => Poll::Ready(()),
                        Poll::Pending => this.poll_cut(cx),
                    };
                }
            }
        }
        // A session that always has something to do must not starve the others, nor those who wait
        // to send something.
        if this.handle.is_ready() {
            this.handle.mailbox().release();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<A: Acceptor> Drop for Driver<A> {
    /// Also when the runtime goes down or the connection panicked: nobody may wait for ever.
    fn drop(&mut self) {
        self.server.table().remove(&self.handle);
        self.handle.end();
    }
}

fn copy(data: &Data) -> Data {
    match data {
        Data::Text(text) => Data::from(&**text),
        Data::Binary(bytes) => Data::Binary(Bytes::copy_from_slice(bytes)),
    }
}

/// Closes a socket that belongs to no session. Usually its client has said goodbye, and there is nothing
/// to wait for.
pub(crate) fn close_alone(mut socket: WebSocket) {
    let mut cx = Context::from_waker(Waker::noop());
    if socket.poll_close(&mut cx).is_ready() {
        return;
    }
    tokio::spawn(async move {
        let close = std::future::poll_fn(|cx| socket.poll_close(cx));
        let _ = tokio::time::timeout(CLOSE_TIME, close).await;
    });
}

/// What time it is in a turn. Most turns only write, and need not ask.
type Now = LazyCell<Instant>;

/// How many frames are read before the other parts of the turn have theirs.
const FRAMES_PER_TURN: usize = 32;

/// How many turns are made before other tasks have theirs.
const TURNS_PER_POLL: usize = 16;

/// Bytes of messages that the application has not taken, from which on nothing more is read.
const MAX_INBOX: usize = 64 * 1024;

/// How long a WebSocket waits for the client's close frame.
const CLOSE_TIME: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Handshake;

    struct Nothing;

    impl Acceptor for Nothing {
        type Connection = Nothing;
        fn accept(&self, _: SessionHandle, _: Arc<Handshake>) -> Nothing {
            Nothing
        }
    }

    impl Connection for Nothing {
        fn on_message(&mut self, _: Data, _: &mut Context<'_>) {}
    }

    /// Memory per idle connection is what people choose a server for.
    #[test]
    fn a_driver_stays_small() {
        assert!(
            size_of::<Driver<Nothing>>() <= 608,
            "{} B",
            size_of::<Driver<Nothing>>()
        );
        assert!(
            size_of::<WebSocket>() <= 176,
            "{} B",
            size_of::<WebSocket>()
        );
    }
}
