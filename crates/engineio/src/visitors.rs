//! What each address may do: how many sessions it has, how fast it opens them and sends messages.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderMap, request};
use tokio::time::Sleep;

use crate::{ConnectionErrorKind as Kind, Peer, clock};

/// The client's address as its proxies tell it in `X-Forwarded-For`, for
/// [`Config::client_address`](crate::Config::client_address).
///
/// Anybody can send this header. So it is read from its end, where the proxy next to this server
/// has written, and only as far as the addresses are those of `trusted` proxies; the first that is
/// not is the client's. If the connection itself does not come from a trusted proxy, it is the
/// client's, whatever the header says. `None` without a [`Peer`], or if the first that counts is no
/// address.
///
/// ```
/// use engineio::{Peer, forwarded_for};
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Peer::new(([10, 0, 0, 1], 4711).into()));
/// let header = "6.6.6.6, 203.0.113.9".parse().unwrap(); // the first part is the client's invention
/// request.headers_mut().insert("x-forwarded-for", header);
/// let (request, ()) = request.into_parts();
///
/// let ours = |proxy: std::net::IpAddr| proxy == std::net::IpAddr::from([10, 0, 0, 1]);
/// assert_eq!(forwarded_for(&request, ours), Some([203, 0, 113, 9].into()));
/// assert_eq!(forwarded_for(&request, |_| false), Some([10, 0, 0, 1].into()));
/// ```
pub fn forwarded_for(request: &request::Parts, trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut address = request.extensions.get::<Peer>()?.addr().ip().to_canonical();
    for hop in hops(&request.headers) {
        if !trusted(address) {
            break;
        }
        address = hop.parse::<IpAddr>().ok()?.to_canonical();
    }
    Some(address)
}

/// The parts of all headers of this name, the last one first.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    // What is no text is no address either.
    let texts = values
        .into_iter()
        .rev()
        .map(|it| it.to_str().unwrap_or("?"));
    texts.flat_map(|text| text.rsplit(',').map(str::trim))
}

/// What one address may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AddressLimits {
    pub(crate) sessions: usize,
    pub(crate) opens: Option<Rate>,
    pub(crate) messages: Option<Rate>,
    /// Of how many addresses is something remembered.
    pub(crate) addresses: usize,
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self {
            sessions: usize::MAX,
            opens: None,
            messages: None,
            addresses: 100_000,
        }
    }
}

impl AddressLimits {
    fn any(&self) -> bool {
        self.sessions != usize::MAX || self.opens.is_some() || self.messages.is_some()
    }
}

/// So many a second, and so many at once by those who were quiet before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    per_second: f64,
    burst: f64,
}

impl Rate {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self {
            per_second: per_second.max(1).into(),
            burst: burst.max(1).into(),
        }
    }
}

/// What an address has left of a [`Rate`]; it refills with time.
#[derive(Clone, Copy, Debug)]
struct Budget {
    left: f64,
    since: Instant,
}

impl Budget {
    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        self.left = (self.left + passed * rate.per_second).min(rate.burst);
        self.since = now;
    }

    /// Takes one, or says when there is one.
    fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Instant> {
        self.refill(rate, now);
        if self.left < 1.0 {
            let time = Duration::from_secs_f64((1.0 - self.left) / rate.per_second);
            // A timer is exact to the millisecond.
            return Err(now + time.max(Duration::from_millis(1)));
        }
        self.left -= 1.0;
        Ok(())
    }
}

/// All addresses that have sessions, or had some a short while ago. Empty when nothing is limited
/// by address.
pub(crate) struct Visitors {
    limits: AddressLimits,
    table: Mutex<Table>,
}

struct Table {
    by_address: HashMap<Option<IpAddr>, Arc<Visitor>>,
    swept: Option<Instant>,
}

struct Visitor(Mutex<State>);

#[derive(Debug)]
struct State {
    sessions: usize,
    opens: Budget,
    messages: Budget,
}

impl Visitors {
    pub(crate) fn new(limits: AddressLimits) -> Self {
        let table = Table {
            by_address: HashMap::new(),
            swept: None,
        };
        Self {
            limits,
            table: Mutex::new(table),
        }
    }

    /// Whether anything is limited by address.
    pub(crate) fn are_counted(&self) -> bool {
        self.limits.any()
    }

    /// A session of this address, until what is returned is dropped. Those of which no address is
    /// known count as one.
    pub(crate) fn open(&self, address: Option<IpAddr>) -> Result<Visit, Kind> {
        let now = clock::now();
        let visitor = self.visitor(address.map(network), now)?;
        {
            let mut state = visitor.state();
            if state.sessions >= self.limits.sessions {
                return Err(Kind::TooManyFromAddress);
            }
            if let Some(rate) = self.limits.opens {
                let taken = state.opens.take(rate, now);
                taken.map_err(|_| Kind::TooManyFromAddress)?;
            }
            state.sessions += 1;
        }
        Ok(Visit(Box::new(Inner {
            visitor,
            messages: self.limits.messages,
            sleep: None,
        })))
    }

    fn visitor(&self, address: Option<IpAddr>, now: Instant) -> Result<Arc<Visitor>, Kind> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(visitor) = table.by_address.get(&address) {
            return Ok(visitor.clone());
        }
        if table.by_address.len() >= self.limits.addresses && !table.sweep(&self.limits, now) {
            return Err(Kind::TooManySessions);
        }
        let full = |rate: Option<Rate>| Budget {
            left: rate.map_or(0.0, |it| it.burst),
            since: now,
        };
        let visitor = Arc::new(Visitor(Mutex::new(State {
            sessions: 0,
            opens: full(self.limits.opens),
            messages: full(self.limits.messages),
        })));
        table.by_address.insert(address, visitor.clone());
        Ok(visitor)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.lock().unwrap().by_address.len()
    }
}

impl Table {
    /// Makes place: forgets those that are as if they had never come, and if these are not enough
    /// all that have no session. As it looks at every address, it does so once a second at most.
    fn sweep(&mut self, limits: &AddressLimits, now: Instant) -> bool {
        if self.swept.is_some_and(|it| now < it + SWEEP_TIME) {
            return false;
        }
        self.swept = Some(now);
        let table = &mut self.by_address;
        table.retain(|_, visitor| !visitor.is_idle(limits, now));
        if table.len() >= limits.addresses {
            // One that is just being opened is held by somebody else, too.
            table.retain(|_, it| Arc::strong_count(it) > 1 || it.state().sessions > 0);
        }
        table.shrink_to(2 * table.len());
        table.len() < limits.addresses
    }
}

impl Visitor {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(self: &Arc<Self>, limits: &AddressLimits, now: Instant) -> bool {
        let mut state = self.state();
        let mut is_full = |rate: Option<Rate>, which: fn(&mut State) -> &mut Budget| {
            let Some(rate) = rate else { return true };
            let budget = which(&mut state);
            budget.refill(rate, now);
            budget.left >= rate.burst
        };
        let full = is_full(limits.opens, |it| &mut it.opens)
            && is_full(limits.messages, |it| &mut it.messages);
        full && state.sessions == 0 && Arc::strong_count(self) == 1
    }
}

/// One session of an address.
pub(crate) struct Visit(Box<Inner>);

struct Inner {
    visitor: Arc<Visitor>,
    messages: Option<Rate>,
    /// Until the address may send again.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Visit {
    /// Takes what one message costs. `Pending` while the address has nothing left; the task is woken
    /// when it has.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &mut *self.0;
        let Some(rate) = inner.messages else {
            return Poll::Ready(());
        };
        loop {
            let Err(due) = inner.visitor.state().messages.take(rate, clock::now()) else {
                inner.sleep = None;
                return Poll::Ready(());
            };
            let due = tokio::time::Instant::from_std(due);
            let sleep = inner
                .sleep
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Somebody else of the address was faster.
            inner.sleep = None;
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.visitor.state().sessions -= 1;
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Visit")
    }
}

/// What counts as one address: who has one of IPv6 has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
        address => address,
    }
}

/// How often all addresses are looked at, at most.
const SWEEP_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> Option<IpAddr> {
        Some(IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn one_64_of_ipv6_is_one_address() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2:3::4"), network("2001:db8:1:2::"));
        assert_ne!(network("2001:db8:1:2::"), network("2001:db8:1:3::"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
    }

    #[test]
    fn sessions_of_an_address_are_counted_until_they_end() {
        let visitors = Visitors::new(AddressLimits {
            sessions: 2,
            ..AddressLimits::default()
        });
        let first = visitors.open(address(1)).unwrap();
        let _second = visitors.open(address(1)).unwrap();
        assert_eq!(
            visitors.open(address(1)).unwrap_err(),
            Kind::TooManyFromAddress
        );
        assert!(visitors.open(address(2)).is_ok());
        drop(first);
        assert!(visitors.open(address(1)).is_ok());
    }

    #[test]
    fn those_without_an_address_count_as_one() {
        let visitors = Visitors::new(AddressLimits {
            sessions: 1,
            ..AddressLimits::default()
        });
        let _visit = visitors.open(None).unwrap();
        assert!(visitors.open(None).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_refills_with_time() {
        let visitors = Visitors::new(AddressLimits {
            opens: Some(Rate::new(1, 3)),
            ..AddressLimits::default()
        });
        let open = |n| (0..n).filter(|_| visitors.open(address(1)).is_ok()).count();
        assert_eq!(open(10), 3);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(open(10), 2);
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert_eq!(open(10), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_of_addresses_is_bounded() {
        let visitors = Visitors::new(AddressLimits {
            sessions: 1,
            opens: Some(Rate::new(1, 10)),
            addresses: 10,
            ..AddressLimits::default()
        });
        let staying: Vec<_> = (0..5).map(|n| visitors.open(address(n)).unwrap()).collect();
        for n in 100..1000 {
            let _ = visitors.open(address(n));
            assert!(visitors.len() <= 10);
            tokio::time::advance(SWEEP_TIME).await;
        }
        // those that have sessions are remembered
        assert!((0..5).all(|n| visitors.open(address(n)).is_err()));
        let more: Vec<_> = (10..15)
            .map(|n| visitors.open(address(n)).unwrap())
            .collect();
        let error = visitors.open(address(20)).unwrap_err();
        assert_eq!(error, Kind::TooManySessions);
        drop((staying, more));
        // not looked at again at once, but soon
        tokio::time::advance(SWEEP_TIME).await;
        assert!(visitors.open(address(20)).is_ok());
        assert!(visitors.len() <= 10);
    }

    #[test]
    fn nothing_is_believed_of_what_a_client_says_about_itself() {
        let told = |peer: [u8; 4], headers: &[&str]| {
            let mut request = http::Request::new(());
            request.extensions_mut().insert(Peer::new((peer, 1).into()));
            for value in headers {
                let headers = request.headers_mut();
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            let is_ours = |it: IpAddr| matches!(it, IpAddr::V4(it) if it.octets()[0] == 10);
            forwarded_for(&request.into_parts().0, is_ours).map(|it| it.to_string())
        };
        let is = |address: &str| Some(address.to_owned());
        assert_eq!(told([1, 2, 3, 4], &["5.6.7.8"]), is("1.2.3.4"));
        assert_eq!(told([10, 0, 0, 1], &["5.6.7.8"]), is("5.6.7.8"));
        assert_eq!(told([10, 0, 0, 1], &["9.9.9.9, 5.6.7.8"]), is("5.6.7.8"));
        assert_eq!(told([10, 0, 0, 1], &["9.9.9.9", "5.6.7.8"]), is("5.6.7.8"));
        assert_eq!(told([10, 0, 0, 1], &["5.6.7.8,10.0.0.2"]), is("5.6.7.8"));
        assert_eq!(told([10, 0, 0, 1], &["2001:db8::1"]), is("2001:db8::1"));
        assert_eq!(told([10, 0, 0, 1], &["5.6.7.8, nonsense"]), None);
        assert_eq!(told([10, 0, 0, 1], &[]), is("10.0.0.1"));
        assert_eq!(told([10, 0, 0, 1], &["10.0.0.2"]), is("10.0.0.2"));
    }
}
