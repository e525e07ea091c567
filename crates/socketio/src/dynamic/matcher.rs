//! Which names belong to a parent.

use std::{fmt, future::Future, panic::AssertUnwindSafe, pin::Pin};

use futures_util::FutureExt as _;

use super::pattern::Pattern;
use crate::{
    BoxError, Handshake,
    error::HandlerError,
    handler::{guarded, panic_error},
};

/// Which names belong to a [`ParentNamespace`](crate::ParentNamespace). Made of
///
/// - a pattern, `"/room/{id}"`: see [below](#patterns);
/// - a function, `|name: &str| name.ends_with("-live")`;
/// - with the cargo feature `regex`, a `regex::Regex`, which like a regular expression of the
///   official server matches anywhere in the name unless it has anchors. What its named groups
///   match are parameters;
/// - an [async predicate](Self::predicate).
///
/// # Patterns
///
/// A pattern is compared with a name segment by segment; a slash is put before it where it is
/// missing. `{id}` stands for one segment that is not empty, `{*path}` at the end for all that is
/// left, one segment or more. What they stand for are the parameters of the namespace, which
/// handlers take as [`Params<T>`](crate::handler::Params).
///
/// ```
/// use socketio::{SocketIo, handler::Params};
///
/// #[derive(serde::Deserialize)]
/// struct Room { id: u32 }
///
/// let io = SocketIo::new();
/// io.of_dynamic("/room/{id}")
///     .on("which?", async |Params(room): Params<Room>| room.id);
/// ```
///
/// # Panics
///
/// To make one of a pattern panics if it is malformed: a brace that is not around a whole segment,
/// a parameter without a name or with that of another one, something behind `{*path}`.
pub struct NamespaceMatcher(Kind);

/// What the variable parts of a name are called, and what they are.
pub(crate) type Params = Box<[(Box<str>, Box<str>)]>;

enum Kind {
    Pattern(Pattern),
    #[cfg(any(test, feature = "regex"))]
    Regex(regex::Regex),
    Function(Box<dyn Fn(&str) -> bool + Send + Sync>),
    Predicate(Box<dyn Fn(String, Handshake) -> Verdict + Send + Sync>),
}

type Verdict = Pin<Box<dyn Future<Output = Result<bool, BoxError>> + Send>>;

impl NamespaceMatcher {
    /// An async function that is asked with the name and with what the client says for itself.
    ///
    /// It decides which namespaces come to be, and is not asked again for one that there is: who
    /// may join is for a [middleware](crate::ParentNamespace::middleware) to say. An error and a
    /// panic mean no, and reach the error hook. While it is at work the client waits; if the
    /// client goes, or its
    /// [connect timeout](crate::Builder::connect_timeout) ends its connection, it is dropped.
    ///
    /// ```
    /// use socketio::{NamespaceMatcher, SocketIo};
    ///
    /// # async fn exists(name: &str) -> std::io::Result<bool> { Ok(name == "/lobby") }
    /// let io = SocketIo::new();
    /// io.of_dynamic(NamespaceMatcher::predicate(async |name, _| Ok(exists(&name).await?)));
    /// ```
    pub fn predicate<F, Fut>(predicate: F) -> Self
    where
        F: Fn(String, Handshake) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, BoxError>> + Send + 'static,
    {
        Self(Kind::Predicate(Box::new(move |name, handshake| {
            Box::pin(predicate(name, handshake))
        })))
    }

    /// Whether the name matches, with the parameters that are in it. Of a predicate nothing is
    /// known: it has to be asked.
    pub(super) fn params(&self, name: &str) -> Result<Option<Params>, HandlerError> {
        match &self.0 {
            Kind::Pattern(pattern) => Ok(pattern.params(name)),
            #[cfg(any(test, feature = "regex"))]
            Kind::Regex(regex) => Ok(regex_params(regex, name)),
            Kind::Function(function) => match guarded(|| function(name)) {
                Ok(matches) => Ok(matches.then(Params::default)),
                Err(panic) => Err(panic_error(&*panic)),
            },
            Kind::Predicate(_) => Ok(None),
        }
    }

    /// The same, and a predicate is asked.
    pub(super) async fn ask(
        &self,
        name: &str,
        handshake: &Handshake,
    ) -> Result<Option<Params>, HandlerError> {
        let Kind::Predicate(predicate) = &self.0 else {
            return self.params(name);
        };
        let run = async { predicate(name.into(), handshake.clone()).await };
        match AssertUnwindSafe(run).catch_unwind().await {
            Ok(Ok(matches)) => Ok(matches.then(Params::default)),
            Ok(Err(error)) => Err(HandlerError::Failed(error)),
            Err(panic) => Err(panic_error(&*panic)),
        }
    }
}

impl From<&str> for NamespaceMatcher {
    fn from(pattern: &str) -> Self {
        Self(Kind::Pattern(Pattern::new(pattern)))
    }
}

impl From<String> for NamespaceMatcher {
    fn from(pattern: String) -> Self {
        pattern.as_str().into()
    }
}

impl<F: Fn(&str) -> bool + Send + Sync + 'static> From<F> for NamespaceMatcher {
    fn from(function: F) -> Self {
        Self(Kind::Function(Box::new(function)))
    }
}

#[cfg(any(test, feature = "regex"))]
impl From<regex::Regex> for NamespaceMatcher {
    fn from(regex: regex::Regex) -> Self {
        Self(Kind::Regex(regex))
    }
}

#[cfg(any(test, feature = "regex"))]
fn regex_params(regex: &regex::Regex, name: &str) -> Option<Params> {
    let captures = regex.captures(name)?;
    let groups = regex.capture_names().flatten();
    let params =
        groups.filter_map(|group| Some((group.into(), captures.name(group)?.as_str().into())));
    Some(params.collect())
}

impl fmt::Debug for NamespaceMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Pattern(pattern) => pattern.fmt(f),
            #[cfg(any(test, feature = "regex"))]
            Kind::Regex(regex) => regex.fmt(f),
            Kind::Function(_) => f.write_str("Function"),
            Kind::Predicate(_) => f.write_str("Predicate"),
        }
    }
}
