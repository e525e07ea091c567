//! Clients come and go.

use std::{rc::Rc, time::Instant};

use anyhow::{Result, bail};

use crate::{
    client::{Polling, Shown, Version, Ws},
    load::{Load, Measured, Timing},
    server::Server,
};

/// Connect, join, leave, again and again, while others stay.
#[derive(Clone, Copy)]
pub(crate) struct Connect {
    /// How many are there all the time.
    pub(crate) open: usize,
    /// How many more, in the server's own memory: they need no open files.
    pub(crate) in_memory: usize,
    /// By polling, then to WebSocket, then one echo.
    pub(crate) upgrade: bool,
}

impl Connect {
    /// How many come and go at the same time.
    pub(crate) const AT_ONCE: usize = 20;

    pub(crate) fn run(
        self,
        load: &Rc<Load>,
        server: &mut Server,
        timing: Timing,
    ) -> Result<Measured> {
        load.connect(self.open, |_, load| stay(load))?;
        load.connect(Self::AT_ONCE, |_, load| self.come_and_go(load))?;
        let measured = load.measure(server, timing)?;
        load.finish()?;
        Ok(measured)
    }

    async fn come_and_go(self, load: Rc<Load>) -> Result<()> {
        let target = &load.target;
        load.ready().await;
        while !load.is_stopping() {
            let start = Instant::now();
            let ws = if self.upgrade {
                let session = Polling::join(target).await?;
                let mut ws = session.upgrade().await?;
                ws.send(r#"42["message","here"]"#).await?;
                ws.expect(r#"42["message-back","here"]"#).await?;
                ws
            } else {
                Ws::join(target, Version::Eio4).await?
            };
            ws.leave().await?;
            load.count(start.elapsed());
        }
        Ok(())
    }
}

/// Joined, and silent until the end.
async fn stay(load: Rc<Load>) -> Result<()> {
    let mut ws = Ws::join(&load.target, Version::Eio4).await?;
    load.ready().await;
    hold(&mut ws, || load.is_stopping()).await
}

/// Answers pings until it is time to go.
pub(crate) async fn hold(ws: &mut Ws, leaves: impl Fn() -> bool) -> Result<()> {
    while !leaves() {
        if ws.readable_or(&leaves).await {
            ws.fill().await?;
            if let Some(frame) = ws.next()? {
                bail!("{} for somebody silent", Shown(frame.payload));
            }
            ws.flush().await?;
        }
    }
    Ok(())
}
