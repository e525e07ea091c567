//! A Redis Cluster: a connection to each of its nodes, and who has which part of it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{Client, ConnectionAddr, ConnectionInfo, RedisResult, Value, aio::ConnectionLike};
use tokio::{
    sync::{Notify, oneshot},
    time::sleep,
};

use crate::{
    link::{Common, Link, away},
    lost::LostReason,
    queue::{Item, Publication, Queue},
    routes::{Receiver, Topic},
};

/// Where something is published or subscribed to. What is for one place keeps its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// At any one node: it passes on to all others what is published on usual channels.
    Home,
    /// At the node that has this slot.
    Slot(u16),
}

pub(crate) struct Cluster {
    common: Arc<Common>,
    /// Where the cluster was found first, and how its nodes are spoken to.
    seeds: Vec<ConnectionInfo>,
    max_queued: usize,
    state: Mutex<State>,
    /// The map may have become wrong.
    stale: Notify,
    closed: AtomicBool,
}

struct State {
    map: Map,
    links: HashMap<Address, Arc<Link>>,
    home: Option<Address>,
    topics: HashMap<Topic, Vec<Arc<dyn Receiver>>>,
    /// What is for slots that nobody has.
    homeless: Queue,
    /// No node could be asked: nobody should wait for one.
    down: bool,
}

/// Which masters have which slots, and all nodes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Map {
    slots: Vec<(u16, u16, Address)>,
    nodes: HashSet<Address>,
}

/// Host and port.
type Address = (String, u16);

impl Cluster {
    pub(crate) fn start(
        common: Arc<Common>,
        seeds: Vec<ConnectionInfo>,
        max_queued: usize,
    ) -> Arc<Self> {
        let cluster = Arc::new(Self {
            seeds,
            max_queued,
            state: Mutex::new(State {
                map: Map::default(),
                links: HashMap::new(),
                home: None,
                topics: HashMap::new(),
                homeless: Queue::new(max_queued),
                down: false,
            }),
            stale: Notify::new(),
            closed: AtomicBool::new(false),
            common,
        });
        cluster.common.runtime.spawn(cluster.clone().run());
        cluster
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.stale.notify_one();
    }

    /// The map may have become wrong: somebody shall look.
    pub(crate) fn doubt(&self) {
        self.stale.notify_one();
    }

    pub(crate) fn subscribe(&self, topic: Topic, receiver: Arc<dyn Receiver>) {
        let mut state = self.state();
        if let Some(link) = state.link_of(topic.place()) {
            link.routes.add(topic.clone(), receiver.clone());
            link.queue.wake();
        }
        state.topics.entry(topic).or_default().push(receiver);
    }

    pub(crate) fn unsubscribe(&self, topic: &Topic, receiver: &Arc<dyn Receiver>) {
        let mut state = self.state();
        if let Some(receivers) = state.topics.get_mut(topic) {
            receivers.retain(|it| !Arc::ptr_eq(it, receiver));
            if receivers.is_empty() {
                state.topics.remove(topic);
            }
        }
        if let Some(link) = state.link_of(topic.place()) {
            link.routes.remove(topic, receiver);
            link.queue.wake();
        }
    }

    /// How many receivers in this process share a subscription.
    pub(crate) fn receivers(&self, topic: &Topic) -> usize {
        self.state().topics.get(topic).map_or(0, Vec::len)
    }

    pub(crate) fn push(&self, publication: Publication) -> Result<(), Item> {
        let state = self.state();
        let queue = match state.link_of(publication.place()) {
            Some(link) => &link.queue,
            None => &state.homeless,
        };
        queue.push(Item::Publish(publication))
    }

    /// What a node would not take, while its place is still there; gives back the rest.
    pub(crate) fn put_back(&self, link: &Link, publications: Vec<Publication>) -> Vec<Publication> {
        let state = self.state();
        let (here, elsewhere) = publications.into_iter().partition(|it| {
            let owner = state.link_of(it.place());
            owner.is_some_and(|it| std::ptr::eq(&**it, link))
        });
        link.queue.put_back(here);
        elsewhere
    }

    /// Asks how many connections subscribe to a channel, with all who have to be asked.
    pub(crate) fn count(
        &self,
        topic: &Topic,
    ) -> RedisResult<Vec<oneshot::Receiver<RedisResult<usize>>>> {
        let state = self.state();
        let owner = state.link_of(topic.place());
        let owner = owner.filter(|it| !it.is_down()).ok_or_else(away)?;
        let sharded = matches!(topic, Topic::Shard(_));
        let mut counts = Vec::new();
        for link in state.links.values() {
            // Nobody is connected to a node that is down, and only the owner has sharded channels.
            let is_asked = !sharded && !link.is_down() || Arc::ptr_eq(link, owner);
            if !is_asked {
                continue;
            }
            let (reply, count) = oneshot::channel();
            let question = Item::Count {
                channel: topic.name().clone(),
                sharded,
                reply,
            };
            link.queue.push(question).map_err(|_| away())?;
            counts.push(count);
        }
        Ok(counts)
    }

    /// Asks the node that has a key.
    pub(crate) fn ask_about(
        &self,
        key: &str,
        command: redis::Cmd,
    ) -> RedisResult<oneshot::Receiver<RedisResult<Value>>> {
        let state = self.state();
        let owner = state.link_of(Place::Slot(slot(key))).ok_or_else(away)?;
        owner.ask(command)
    }

    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.state().links.values().cloned().collect()
    }

    pub(crate) fn is_connected(&self) -> bool {
        let state = self.state();
        let mut masters = state.map.slots.iter();
        !state.map.slots.is_empty()
            && masters.all(|(_, _, it)| state.links.get(it).is_some_and(|it| it.is_connected()))
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        let state = self.state();
        let links = state.links.values().map(|it| it.queue.bytes());
        links.sum::<usize>() + state.homeless.bytes()
    }

    /// Where the node is that has a key.
    pub(crate) fn node_of(&self, key: &str) -> RedisResult<ConnectionInfo> {
        let state = self.state();
        let link = state.link_of(Place::Slot(slot(key))).ok_or_else(away)?;
        Ok(link.info.clone())
    }

    /// Keeps the map, until nobody wants it any more.
    async fn run(self: Arc<Self>) {
        let mut pause = SHORTEST_PAUSE;
        for turn in 0.. {
            if self.is_closed() {
                break;
            }
            match self.look(turn).await {
                Ok(map) => {
                    self.apply(map);
                    pause = SHORTEST_PAUSE;
                    sleep(pause).await;
                    self.stale.notified().await;
                }
                Err(error) => {
                    tracing::debug!(%error, "no node of the Redis Cluster can be asked");
                    self.state().down = true;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    let _ = tokio::time::timeout(pause, self.stale.notified()).await;
                    sleep(SHORTEST_PAUSE).await;
                }
            }
        }
        let state = self.state();
        for link in state.links.values() {
            link.queue.close();
        }
        state.homeless.close();
        let left = state.homeless.take(usize::MAX, usize::MAX);
        self.common.lost_items(&left, LostReason::Unsendable);
    }

    /// Asks one node after the other for the map, another one first in each turn: one may have been
    /// away, and not know what has happened.
    async fn look(&self, turn: usize) -> RedisResult<Map> {
        let mut nodes: Vec<_> = {
            let state = self.state();
            let links = state.links.values().filter(|it| it.is_connected());
            links.map(|it| it.info.clone()).collect()
        };
        nodes.extend(self.seeds.iter().cloned());
        let count = nodes.len();
        nodes.rotate_left(turn % count);
        let mut result = Err(away());
        for node in nodes {
            result = self.ask(node).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn ask(&self, node: ConnectionInfo) -> RedisResult<Map> {
        let client = Client::open(node.clone())?;
        let config = self.common.config();
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        match connection.await?.req_packed_command(&command).await? {
            Value::ServerError(error) => Err(error.into()),
            reply => Map::read(reply, &address_of(&node)),
        }
    }

    /// Everything moves to where it belongs now: what waits and what is subscribed. Nothing is
    /// published meanwhile, so it keeps its order.
    fn apply(self: &Arc<Self>, map: Map) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.down = false;
        for address in &map.nodes {
            state.links.entry(address.clone()).or_insert_with(|| {
                let info = self.info_of(address);
                Link::start(&self.common, info, self.max_queued, Some(self))
            });
        }
        let gone = state.links.extract_if(|it, _| !map.nodes.contains(it));
        let gone: Vec<_> = gone.map(|(_, link)| link).collect();
        let nodes = map.nodes.len();
        let is_new = state.map != map;
        state.map = map;
        state.choose_home();

        let mut waiting = state.homeless.take(usize::MAX, usize::MAX);
        for link in state.links.values().chain(&gone) {
            waiting.extend(link.queue.extract(|it| {
                let owner = state.link_of(it.place());
                owner.is_none_or(|owner| !Arc::ptr_eq(owner, link))
            }));
        }
        for item in waiting {
            let Item::Publish(it) = &item else { continue };
            match state.link_of(it.place()) {
                Some(link) => link.queue.push_over(item),
                None => state.homeless.push_over(item),
            }
        }
        for (topic, receivers) in &state.topics {
            let owner = state.link_of(topic.place());
            for link in state.links.values().chain(&gone) {
                let is_owner = owner.is_some_and(|it| Arc::ptr_eq(it, link));
                if is_owner && link.routes.receivers(topic) == 0 {
                    for receiver in receivers {
                        link.routes.add(topic.clone(), receiver.clone());
                    }
                    link.queue.wake();
                } else if !is_owner && link.routes.receivers(topic) > 0 {
                    for receiver in receivers {
                        link.routes.remove(topic, receiver);
                    }
                    link.queue.wake();
                }
            }
        }
        for link in gone {
            link.queue.close();
        }
        // Not under the lock: whoever is told of it may be anybody.
        drop(guard);
        if is_new {
            tracing::info!(nodes, "the Redis Cluster has a new map");
        }
        self.common.changed();
    }

    /// How a node is spoken to: as the first ones are.
    fn info_of(&self, (host, port): &Address) -> ConnectionInfo {
        let info = self.seeds[0].clone();
        let address = match info.addr().clone() {
            ConnectionAddr::TcpTls {
                insecure,
                tls_params,
                ..
            } => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure,
                tls_params,
            },
            _ => ConnectionAddr::Tcp(host.clone(), *port),
        };
        info.set_addr(address)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn link_of(&self, place: Place) -> Option<&Arc<Link>> {
        let address = match place {
            Place::Home => self.home.as_ref()?,
            Place::Slot(slot) => self.map.owner(slot)?,
        };
        self.links.get(address)
    }

    /// The node for usual channels stays, as long as it is a master and there.
    fn choose_home(&mut self) {
        let masters: HashSet<_> = self.map.slots.iter().map(|(_, _, it)| it).collect();
        let is_there = |it: &Address| self.links.get(it).is_some_and(|it| !it.is_down());
        let good = |it: &&Address| masters.contains(it) && is_there(it);
        if self.home.as_ref().filter(good).is_some() {
            return;
        }
        // Not the same one in all processes.
        let mut others: Vec<_> = masters.iter().copied().filter(|it| is_there(it)).collect();
        if others.is_empty() {
            others = masters.iter().copied().collect();
        }
        let number = uuid::Uuid::new_v4().as_u64_pair().1 as usize;
        self.home = others
            .get(number % others.len().max(1))
            .map(|&it| it.clone());
    }
}

impl Map {
    fn owner(&self, slot: u16) -> Option<&Address> {
        let after = self.slots.partition_point(|(first, _, _)| *first <= slot);
        let (_, last, address) = self.slots.get(after.checked_sub(1)?)?;
        (slot <= *last).then_some(address)
    }

    /// Reads the answer to CLUSTER SLOTS of a node. One that does not know its own host leaves it
    /// out.
    fn read(reply: Value, asked: &Address) -> RedisResult<Self> {
        let address = |node: Value| {
            let Value::Array(node) = node else {
                return None;
            };
            let mut node = node.into_iter();
            let host = match node.next()? {
                Value::BulkString(host) if !host.is_empty() => String::from_utf8(host).ok()?,
                Value::SimpleString(host) if !host.is_empty() => host,
                Value::Nil | Value::BulkString(_) | Value::SimpleString(_) => asked.0.clone(),
                _ => return None,
            };
            let Value::Int(port) = node.next()? else {
                return None;
            };
            Some((host, u16::try_from(port).ok()?))
        };
        let mut map = Map::default();
        let Value::Array(ranges) = reply else {
            return Err(away());
        };
        for range in ranges {
            let Value::Array(range) = range else { continue };
            let mut range = range.into_iter();
            let (Some(Value::Int(first)), Some(Value::Int(last))) = (range.next(), range.next())
            else {
                continue;
            };
            let (Ok(first), Ok(last)) = (u16::try_from(first), u16::try_from(last)) else {
                continue;
            };
            let mut nodes = range.map_while(address);
            if let Some(master) = nodes.next() {
                map.nodes.insert(master.clone());
                map.slots.push((first, last, master));
                map.nodes.extend(nodes);
            }
        }
        map.slots.sort();
        if map.slots.is_empty() {
            // A node that has just begun knows nobody.
            return Err(away());
        }
        Ok(map)
    }
}

impl Topic {
    pub(crate) fn place(&self) -> Place {
        match self {
            Topic::Channel(_) | Topic::Pattern(_) => Place::Home,
            Topic::Shard(name) => Place::Slot(slot(name)),
        }
    }
}

impl Publication {
    pub(crate) fn place(&self) -> Place {
        match self {
            Publication::Publish {
                channel,
                sharded: true,
                ..
            } => Place::Slot(slot(channel)),
            Publication::Publish { .. } => Place::Home,
            Publication::Append { stream, .. } => Place::Slot(slot(stream)),
            Publication::Keep { key, behind, .. } | Publication::Forget { key, behind } => {
                Place::Slot(slot(behind.as_deref().unwrap_or(key)))
            }
        }
    }
}

fn address_of(info: &ConnectionInfo) -> Address {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            (host.clone(), *port)
        }
        _ => (String::new(), 0),
    }
}

/// The slot of a key: a checksum (CRC-16/XMODEM) of what stands between the first braces, or of all.
fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| {
        let (tag, _) = rest.split_once('}')?;
        (!tag.is_empty()).then_some(tag)
    });
    let sum = tag.unwrap_or(key).bytes().fold(0_u16, |sum, byte| {
        (0..8).fold(sum ^ (u16::from(byte) << 8), |sum, _| {
            let shifted = sum << 1;
            if sum & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    });
    sum % SLOTS
}

const SLOTS: u16 = 16_384;

/// Between two looks at the map.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // said by CLUSTER KEYSLOT
        for (key, expected) in [
            ("", 0),
            ("123456789", 12_739),
            ("socket.io", 9_972),
            ("socket.io#/#", 13_868),
            ("{user1000}.following", 3_443),
            ("foo{}{bar}", 8_363),
            ("foo{{bar}}zap", 4_015),
            ("foo{bar}{zap}", 5_061),
            ("ü", 9_552),
        ] {
            assert_eq!(slot(key), expected, "{key}");
        }
    }

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![
            host,
            Value::Int(port),
            Value::BulkString(b"id".into()),
        ])
    }

    #[test]
    fn the_map_says_who_has_a_slot() {
        let text = |text: &str| Value::BulkString(text.into());
        let range = |first, last, nodes: Vec<Value>| {
            Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat())
        };
        let reply = Value::Array(vec![
            range(
                10,
                20,
                vec![node(text("b"), 2), node(Value::Nil, 3), node(text(""), 4)],
            ),
            range(0, 5, vec![node(text("a"), 1)]),
            range(30, 70_000, vec![node(text("c"), 1)]),
            Value::Nil,
        ]);
        let map = Map::read(reply, &("asked".into(), 9)).unwrap();
        for (slot, expected) in [(0, Some(1)), (5, Some(1)), (6, None), (10, Some(2))] {
            assert_eq!(map.owner(slot).map(|it| it.1), expected, "{slot}");
        }
        assert_eq!(map.owner(21), None);
        assert!(map.nodes.contains(&("asked".into(), 3)));
        assert!(map.nodes.contains(&("asked".into(), 4)));
        assert_eq!(map.nodes.len(), 4);
        assert!(Map::read(Value::Array(Vec::new()), &("asked".into(), 9)).is_err());
        assert!(Map::read(Value::Nil, &("asked".into(), 9)).is_err());
    }
}
