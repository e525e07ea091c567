//! The servers as processes: how they are started, and what they use.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
    },
    time::ClockId,
    unistd::Pid,
};
use serde::Serialize;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Floor,
    Ours,
    Oxide,
    Node,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Floor, Self::Ours, Self::Oxide, Self::Node];

    /// For the command line.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Oxide => "oxide",
            Self::Node => "node",
        }
    }

    /// For the tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Oxide => "socketioxide",
            Self::Node => "Node.js",
        }
    }

    /// How much longer it takes until it is as fast as it gets.
    pub(crate) fn warm_up(self) -> u32 {
        match self {
            Self::Floor | Self::Ours | Self::Oxide => 1,
            // It compiles what runs often.
            Self::Node => 3,
        }
    }

    fn command(self, build: Build) -> Result<Command> {
        let name = match self {
            Self::Floor => "floor-server",
            Self::Ours => "bench-server",
            Self::Oxide => "oxide-server",
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(home().join("peers/node/server.mjs"));
                return Ok(command);
            }
        };
        let here = env::current_exe()?;
        let here = here.parent().context("no directory")?;
        let program = match build {
            Build::CountsAllocations => here.join("../count-allocs/release").join(name),
            Build::Plain | Build::UnderCallgrind => here.join(name),
        };
        ensure!(
            program.exists(),
            "{} is missing; crates/bench/run builds it",
            program.display()
        );
        if build == Build::UnderCallgrind {
            let mut command = Command::new("valgrind");
            let out = callgrind_file()?;
            command.args(["--quiet", "--tool=callgrind"]);
            command.arg(format!("--callgrind-out-file={}", out.display()));
            command.arg(program);
            return Ok(command);
        }
        Ok(Command::new(program))
    }
}

/// How a server is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    Plain,
    /// The build that counts allocations. Its times are not compared.
    CountsAllocations,
    /// The plain one, whose instructions valgrind counts.
    UnderCallgrind,
}

fn callgrind_file() -> Result<PathBuf> {
    let here = env::current_exe()?;
    Ok(here.with_file_name("callgrind.out"))
}

/// The directory of this crate's sources.
pub(crate) fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The server has one core, the load generator another.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Cores {
    /// The last core for the server, the one before it for the load generator.
    pub(crate) fn choose(server: Option<usize>, load: Option<usize>) -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut cores = (0..CpuSet::count()).rev();
        let mut free = cores
            .by_ref()
            .filter(|&core| allowed.is_set(core).unwrap_or(false));
        let last = free.next().context("no core")?;
        let server = server.unwrap_or(last);
        let load = load.or(match server == last {
            true => free.next(),
            false => Some(last),
        });
        let load = load.context("the server and the load generator need a core each")?;
        Ok(Self { server, load })
    }
}

/// Pins this process; what it starts from now on inherits it.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot use core {core}"))
}

/// Raises the limit of open files as far as this user may; returns it.
pub(crate) fn raise_descriptors(wanted: u64) -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if hard < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        return Ok(wanted);
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// A server that runs; it is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    clock: ClockId,
    heap: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

/// What a server has used since it started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// The user's part of it, in ticks, and all of it in ticks.
    pub(crate) ticks: (u64, u64),
    /// How many allocations, if it counts.
    pub(crate) allocations: Option<u64>,
}

/// What a server holds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) rss_kib: u64,
    /// What is allocated and not freed, if it counts.
    pub(crate) heap_kib: Option<f64>,
}

impl Server {
    /// Starts a server that listens; `in_memory` clients of its own have joined (ours only).
    pub(crate) fn start(kind: Kind, build: Build, in_memory: usize, cores: Cores) -> Result<Self> {
        let mut command = kind.command(build)?;
        let port = free_port()?;
        command.env("PORT", port.to_string());
        if in_memory > 0 {
            command.env("PIPES", in_memory.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if build == Build::CountsAllocations {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        }
        pin(cores.server)?;
        let child = command.spawn();
        pin(cores.load)?;
        let mut child = child.with_context(|| format!("cannot start {command:?}"))?;
        let heap = child.stdin.take().zip(child.stdout.take());
        let mut server = Self {
            clock: ClockId::pid_cpu_clock_id(Pid::from_raw(child.id().cast_signed()))?,
            heap: heap.map(|(stdin, stdout)| (stdin, BufReader::new(stdout))),
            child,
            port,
        };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let end = Instant::now() + START_TIME;
        while TcpStream::connect(addr).is_err() {
            let status = self.child.try_wait()?;
            ensure!(status.is_none(), "the server has ended: {status:?}");
            ensure!(Instant::now() < end, "the server does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(crate) fn usage(&mut self) -> Result<Usage> {
        let stat = fs::read_to_string(self.proc("stat"))?;
        // The name of the program, in parentheses, may have spaces.
        let fields = stat.rsplit_once(") ").context("no stat")?.1;
        let mut fields = fields.split(' ').skip(11).map(str::parse::<u64>);
        let mut field = || fields.next().context("no times")?.context("not a number");
        let (user, system) = (field()?, field()?);
        Ok(Usage {
            ticks: (user, user + system),
            allocations: self.heap()?.map(|(allocations, _)| allocations),
            cpu: self.clock.now().context("the server has ended")?.into(),
        })
    }

    pub(crate) fn memory(&mut self) -> Result<Memory> {
        let status = fs::read_to_string(self.proc("status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss.and_then(|it| it.trim().strip_suffix(" kB"));
        Ok(Memory {
            rss_kib: rss.context("no VmRSS")?.parse()?,
            heap_kib: self.heap()?.map(|(_, bytes)| bytes as f64 / 1024.0),
        })
    }

    /// Allocations so far, and bytes that are allocated now.
    fn heap(&mut self) -> Result<Option<(u64, u64)>> {
        let Some((stdin, stdout)) = &mut self.heap else {
            return Ok(None);
        };
        writeln!(stdin, "heap")?;
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let (allocations, bytes) = line.trim().split_once(' ').context("no heap")?;
        Ok(Some((allocations.parse()?, bytes.parse()?)))
    }

    /// Ends the server, which runs under callgrind; the instructions that it took.
    pub(crate) fn instructions(mut self) -> Result<u64> {
        kill(self.pid(), Signal::SIGTERM)?;
        self.child.wait()?;
        let out = fs::read_to_string(callgrind_file()?)?;
        let total = out.lines().find_map(|line| line.strip_prefix("totals: "));
        total.context("no totals")?.parse().context("totals")
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.child.id()).into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const START_TIME: Duration = Duration::from_secs(20);

/// A port below those that connections get.
fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..2000 {
        let port = 21_000 + NEXT.fetch_add(1, Relaxed) % 2000;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no port is free")
}
