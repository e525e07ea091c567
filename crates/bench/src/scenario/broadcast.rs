//! One speaks, all hear it.

use std::{
    array,
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use anyhow::{Result, ensure};

use crate::{
    client::{Shown, Version, Ws},
    frame::{Frame, MARK, Opcode, Template},
    load::{Load, Measured, Timing},
    reactor::TaskId,
    server::Server,
};

/// Groups of clients; in each a member speaks, and hears itself too.
#[derive(Clone, Copy)]
pub(crate) struct Broadcast {
    /// `None`: everybody, by `broadcast`. Otherwise so many rooms, by `room-broadcast`.
    pub(crate) rooms: Option<usize>,
    /// Of each group.
    pub(crate) members: usize,
    /// How many messages of a group may be under way.
    pub(crate) outstanding: usize,
}

impl Broadcast {
    pub(crate) fn clients(self) -> usize {
        self.members * self.rooms.unwrap_or(1)
    }

    pub(crate) fn run(
        self,
        load: &Rc<Load>,
        server: &mut Server,
        timing: Timing,
    ) -> Result<Measured> {
        let groups = (0..self.rooms.unwrap_or(1)).map(|room| {
            let room = self.rooms.map(|_| format!("room-{room}"));
            Rc::new(Group::new(self, room))
        });
        let groups: Vec<_> = groups.collect();
        load.connect(self.clients(), |number, load| {
            let group = groups[number % groups.len()].clone();
            let speaks = number < groups.len();
            member(group, speaks, load)
        })?;
        let measured = load.measure(server, timing.for_each_of(self.clients()))?;
        load.finish()?;
        Ok(measured)
    }
}

async fn member(group: Rc<Group>, speaks: bool, load: Rc<Load>) -> Result<()> {
    let mut ws = Ws::join(&load.target, Version::Eio4).await?;
    if let Some(room) = &group.room {
        ws.send(&format!(r#"42["join","{room}"]"#)).await?;
        // What comes back was sent after it: the server has seen both.
        ws.send(r#"42["message","joined"]"#).await?;
        ws.expect(r#"42["message-back","joined"]"#).await?;
    }
    if speaks {
        group.speaker.set(load.reactor.current());
    }
    load.ready().await;

    let mut next = 0;
    loop {
        if speaks {
            while group.may_speak(&load) {
                ws.push(|out| group.speak(out));
            }
            if group.is_over(&load) {
                group.ended.set(true);
                load.reactor.wake_all();
            }
        }
        ws.flush().await?;
        if group.ended.get() {
            return Ok(());
        }
        let called =
            || group.ended.get() || (speaks && (group.may_speak(&load) || group.is_over(&load)));
        if !ws.readable_or(called).await {
            continue;
        }
        ws.fill().await?;
        let now = Instant::now();
        while let Some(frame) = ws.next()? {
            let (sent_at, heard_by_all) = group.hear(next, frame)?;
            next += 1;
            load.count(now - sent_at);
            if heard_by_all {
                load.reactor.wake(group.speaker.get());
            }
        }
    }
}

/// Who hears the same.
struct Group {
    room: Option<String>,
    members: usize,
    outstanding: usize,
    speaker: Cell<TaskId>,
    request: RefCell<Template>,
    expected: RefCell<Template>,
    /// The next message's number.
    next: Cell<u64>,
    /// How many messages not all have heard.
    under_way: Cell<usize>,
    /// The last ones, by number.
    spoken: RefCell<[Spoken; RING]>,
    ended: Cell<bool>,
}

/// More than may be outstanding.
const RING: usize = 16;

struct Spoken {
    at: Instant,
    /// What all have to hear.
    payload: Vec<u8>,
    /// How many have not heard it.
    left: usize,
}

impl Group {
    fn new(broadcast: Broadcast, room: Option<String>) -> Self {
        assert!(broadcast.outstanding < RING);
        let argument = format!("{MARK:x<64}");
        let (request, event) = match &room {
            Some(room) => (
                format!(r#"42["room-broadcast","{room}","{argument}"]"#),
                "room-broadcast",
            ),
            None => (format!(r#"42["broadcast","{argument}"]"#), "broadcast"),
        };
        let expected = format!(r#"42["{event}","{argument}"]"#);
        Self {
            room,
            members: broadcast.members,
            outstanding: broadcast.outstanding,
            speaker: Cell::new(TaskId::MAX),
            request: Template::frames(&[(Opcode::Text, request.into())]).into(),
            expected: Template::plain(expected.into()).into(),
            next: Cell::new(0),
            under_way: Cell::new(0),
            spoken: RefCell::new(array::from_fn(|_| Spoken {
                at: Instant::now(),
                payload: Vec::new(),
                left: 0,
            })),
            ended: Cell::new(false),
        }
    }

    fn may_speak(&self, load: &Load) -> bool {
        self.under_way.get() < self.outstanding && !load.is_stopping()
    }

    fn is_over(&self, load: &Load) -> bool {
        self.under_way.get() == 0 && load.is_stopping()
    }

    fn speak(&self, out: &mut Vec<u8>) {
        let number = self.next.get();
        out.extend_from_slice(self.request.borrow_mut().numbered(number));
        let spoken = &mut self.spoken.borrow_mut()[number as usize % RING];
        spoken.payload.clear();
        let mut expected = self.expected.borrow_mut();
        spoken.payload.extend_from_slice(expected.numbered(number));
        spoken.left = self.members;
        spoken.at = Instant::now();
        self.next.set(number + 1);
        self.under_way.set(self.under_way.get() + 1);
    }

    /// A member has got a frame, which has to be the message of this number. When it was spoken,
    /// and whether this one was the last to hear it.
    fn hear(&self, number: u64, frame: Frame<'_>) -> Result<(Instant, bool)> {
        let shown = Shown(frame.payload);
        ensure!(number < self.next.get(), "{shown} was not sent, or twice");
        let spoken = &mut self.spoken.borrow_mut()[number as usize % RING];
        ensure!(
            frame.opcode == Opcode::Text && frame.payload == spoken.payload,
            "message {number}: {shown} instead of {}",
            Shown(&spoken.payload)
        );
        spoken.left -= 1;
        if spoken.left == 0 {
            self.under_way.set(self.under_way.get() - 1);
        }
        Ok((spoken.at, spoken.left == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64) -> String {
        let argument = format!("{:x<64}", format!("{number:012}"));
        format!(r#"42["broadcast","{argument}"]"#)
    }

    /// Whether this was the last member to hear it.
    fn hear(group: &Group, due: u64, message: &str) -> Result<bool> {
        let payload = message.as_bytes();
        let opcode = Opcode::Text;
        let (_, last) = group.hear(due, Frame { opcode, payload })?;
        Ok(last)
    }

    #[test]
    fn everybody_has_to_hear_everything_once_and_in_order() {
        let group = Group::new(
            Broadcast {
                rooms: None,
                members: 2,
                outstanding: 2,
            },
            None,
        );
        group.speak(&mut Vec::new());
        group.speak(&mut Vec::new());
        assert!(hear(&group, 0, &message(1)).is_err(), "out of order");
        assert!(!hear(&group, 0, &message(0)).unwrap());
        assert!(hear(&group, 1, &message(0)).is_err(), "twice");
        assert!(!hear(&group, 1, &message(1)).unwrap());
        assert!(hear(&group, 2, &message(2)).is_err(), "never sent");
        assert!(hear(&group, 0, &message(0)).unwrap(), "all have heard it");
        assert!(hear(&group, 1, &message(1)).unwrap());
        assert_eq!(group.under_way.get(), 0);
    }
}
