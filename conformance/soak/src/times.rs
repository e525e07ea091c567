//! How long everything takes, and how much there is of it.

use std::time::Duration;

/// What depends on whether the run is a long one.
#[derive(Clone, Copy)]
pub struct Times {
    /// The name of the profile, for the processes of the run.
    pub name: &'static str,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub upgrade: Duration,
    pub recovery: Duration,
    /// Between two numbered events in `/talk`.
    pub tick: Duration,
    /// The same in `/storm`.
    pub storm_tick: Duration,
    pub storm_every: Duration,
    /// Within which they all come back.
    pub storm_lasts: Duration,
    pub storm_clients: usize,
    pub sample: Duration,
    /// After this, everybody goes for the first time.
    pub warm_up: Duration,
}

impl Times {
    /// The server's times are the defaults of the crate.
    pub const LONG: Self = Self {
        name: "long",
        ping_interval: secs(25),
        ping_timeout: secs(20),
        upgrade: secs(10),
        recovery: secs(120),
        tick: Duration::from_millis(250),
        storm_tick: secs(2),
        storm_every: secs(300),
        storm_lasts: secs(4),
        storm_clients: 2000,
        sample: secs(10),
        warm_up: secs(90),
    };

    /// Short enough for many rounds in a minute, long enough for a slow machine.
    pub const SHORT: Self = Self {
        name: "short",
        ping_interval: secs(2),
        ping_timeout: secs(4),
        upgrade: secs(3),
        recovery: secs(5),
        storm_every: secs(8),
        storm_lasts: secs(1),
        storm_clients: 300,
        sample: secs(2),
        warm_up: secs(11),
        ..Self::LONG
    };

    pub fn named(name: &str) -> Option<Self> {
        [Self::LONG, Self::SHORT]
            .into_iter()
            .find(|it| it.name == name)
    }

    /// The long ones, unless there is too little time for them.
    pub fn fit(run: Duration) -> Self {
        if run >= 6 * Self::LONG.storm_every {
            Self::LONG
        } else {
            Self::SHORT
        }
    }

    /// How long they take to come for the first time, all at their leisure.
    pub fn arrival(&self) -> Duration {
        5 * self.storm_lasts
    }

    /// After this there is the first storm.
    pub fn first_storm(&self) -> Duration {
        (self.storm_every / 5).max(self.arrival() + secs(2))
    }

    /// Within this the server notices that a client has gone without a word.
    pub fn heartbeat(&self) -> Duration {
        self.ping_interval + self.ping_timeout
    }

    /// Within this after a storm all is as before: recovery forgets in quarters of its time.
    pub fn settle(&self) -> Duration {
        self.heartbeat() + self.recovery * 5 / 4 + self.sample + 2 * self.storm_lasts
    }

    /// Within this after everybody has gone nothing is left of them, on a slow machine, too.
    pub fn forgotten(&self) -> Duration {
        2 * self.heartbeat() + 3 * self.recovery
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
