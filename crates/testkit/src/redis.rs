//! A Redis server of the tests' own.
#![allow(clippy::unwrap_used, reason = "for tests only")]

use std::{
    fs,
    io::Write as _,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A `redis-server` on a free port of this machine, in a directory of its own. It ends with this
/// process, whatever way that ends.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    directory: PathBuf,
    options: Vec<String>,
    scheme: &'static str,
    watch: Option<Child>,
}

impl RedisServer {
    /// Starts one on a free port.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more options.
    pub fn start_with(options: &[&str]) -> Self {
        let mut server = Self::on(free_port());
        server.options = options.iter().map(|&it| it.into()).collect();
        server.restart();
        server
    }

    /// One that speaks TLS only, with a certificate that [`CA`](Self::CA) has signed. `command` and
    /// `publish` do not reach it.
    pub fn start_tls() -> Self {
        let mut server = Self::on(free_port());
        for (name, text) in [
            ("cert.pem", include_str!("tls/cert.pem")),
            ("key.pem", include_str!("tls/key.pem")),
            ("ca.pem", Self::CA),
        ] {
            fs::write(server.directory.join(name), text).unwrap();
        }
        let options = "--port 0 --tls-cert-file cert.pem --tls-key-file key.pem \
             --tls-ca-cert-file ca.pem --tls-auth-clients no --tls-port";
        server.options = options.split_whitespace().map(Into::into).collect();
        server.options.push(server.port.to_string());
        server.scheme = "rediss";
        server.restart();
        server
    }

    /// Who vouches for the server with TLS, for 127.0.0.1 and localhost until 2126. Its key is gone.
    pub const CA: &str = include_str!("tls/ca.pem");

    fn on(port: u16) -> Self {
        let directory = std::env::temp_dir().join(format!("redis-{}-{port}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self {
            port,
            directory,
            options: Vec::new(),
            scheme: "redis",
            watch: None,
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}/", self.scheme, self.port)
    }

    /// Ends it at once, with everything that it remembers.
    pub fn kill(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            let _ = watch.stdin.take().unwrap().write_all(b"\n");
            watch.wait().unwrap();
        }
    }

    /// Starts it (again) on its port.
    pub fn restart(&mut self) {
        self.kill();
        // The shell reads until it is told to go on, or this process ends; then it ends the server.
        let script = "redis-server --port $0 --bind 127.0.0.1 --save '' --appendonly no \
             \"$@\" >log 2>&1 & echo $! >pid; read line && kept=yes; kill -9 $!; wait; \
             test $kept || rm -r \"$PWD\"";
        let watch = Command::new("sh")
            .args(["-c", script, &self.port.to_string()])
            .args(&self.options)
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .spawn();
        self.watch = Some(watch.unwrap());
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if begun.elapsed() > Duration::from_secs(20) {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                panic!("redis-server does not start (`make setup` installs it): {log}");
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// It does nothing any more, and takes nothing.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// It goes on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = fs::read_to_string(self.directory.join("pid")).unwrap();
        let script = "kill -s $0 $1";
        let sent = Command::new("sh")
            .args(["-c", script, signal, pid.trim()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Publishes any bytes.
    pub fn publish(&self, channel: &str, payload: &[u8]) {
        let cli = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "-x", "publish", channel])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let mut cli = cli.unwrap();
        cli.stdin.take().unwrap().write_all(payload).unwrap();
        assert!(cli.wait().unwrap().success());
    }

    /// Asks something with `redis-cli`.
    pub fn command(&self, args: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(args)
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }
}

/// A Redis Cluster of three masters, the first of which may have a replica.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts three nodes, and a replica of the first one if it is wanted.
    pub fn start(with_replica: bool) -> Self {
        let count = if with_replica { 4 } else { 3 };
        let nodes: Vec<_> = (0..count).map(|_| Self::node()).collect();
        for (number, node) in nodes[..3].iter().enumerate() {
            let (first, last) = [("0", "5460"), ("5461", "10922"), ("10923", "16383")][number];
            node.command(&["cluster", "addslotsrange", first, last]);
            // Otherwise two may have the same, and it takes them a while to agree.
            let epoch = (number + 1).to_string();
            node.command(&["cluster", "set-config-epoch", &epoch]);
        }
        for node in &nodes[1..] {
            let (port, bus) = (nodes[0].port.to_string(), nodes[0].options.last().unwrap());
            node.command(&["cluster", "meet", "127.0.0.1", &port, bus]);
        }
        let cluster = Self { nodes };
        cluster.until_all(|node| {
            let known = format!("cluster_known_nodes:{count}\r\n");
            let info = node.command(&["cluster", "info"]);
            info.contains("cluster_state:ok") && info.contains(&known)
        });
        if with_replica {
            let master = cluster.nodes[0].command(&["cluster", "myid"]);
            let replicate = ["cluster", "replicate", master.trim()];
            assert_eq!(cluster.nodes[3].command(&replicate).trim(), "OK");
            cluster.until_all(|node| {
                let nodes = node.command(&["cluster", "nodes"]);
                nodes.contains("slave") && {
                    let info = cluster.nodes[3].command(&["info", "replication"]);
                    info.contains("master_link_status:up")
                }
            });
        }
        cluster
    }

    fn node() -> RedisServer {
        let bus = free_port().to_string();
        let options = "--cluster-enabled yes --cluster-node-timeout 1000 \
             --cluster-require-full-coverage no --cluster-replica-validity-factor 0 --cluster-port";
        let mut server = RedisServer::on(free_port());
        server.options = options.split_whitespace().map(Into::into).collect();
        server.options.push(bus);
        server.restart();
        server
    }

    fn until_all(&self, holds: impl Fn(&RedisServer) -> bool) {
        let begun = Instant::now();
        while !self.nodes.iter().all(&holds) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "no Redis Cluster: {}",
                self.nodes[0].command(&["cluster", "nodes"])
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// Where the masters are.
    pub fn urls(&self) -> Vec<String> {
        self.nodes[..3].iter().map(RedisServer::url).collect()
    }

    /// Its nodes; the fourth is the replica.
    pub fn nodes(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// The number of the master that has the slot of this key.
    pub fn owner(&self, key: &str) -> usize {
        let slot = self.nodes[1].command(&["cluster", "keyslot", key]);
        match slot.trim().parse::<u16>().unwrap() {
            0..=5_460 => 0,
            5_461..=10_922 => 1,
            _ => 2,
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
