//! The variable parts of a dynamic namespace's name.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeOwned, value::Error};

use super::{Context, FromContext, query::deserialize_pairs};

/// The variable parts of the name of a [dynamic namespace](crate::SocketIo::of_dynamic), as a
/// struct or a map.
///
/// Of the pattern `/room/{id}` a namespace `/room/7` has the parameter `id`, whose value is `7`.
/// What a field may be is the same as for [`Query`](super::Query); the values are not decoded in
/// any way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<T>(pub T);

impl<C: Context, T: DeserializeOwned> FromContext<C> for Params<T> {
    type Rejection = InvalidParams;

    fn from_context(context: &C) -> Result<Self, InvalidParams> {
        let params = context.socket().namespace().params().iter();
        let pairs = params.map(|(name, value)| (Cow::from(&**name), Cow::from(&**value)));
        deserialize_pairs(pairs).map(Params).map_err(InvalidParams)
    }
}

/// The name of the namespace has other variable parts.
#[derive(Clone, Debug, PartialEq)]
pub struct InvalidParams(Error);

impl fmt::Display for InvalidParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid namespace: {}", self.0)
    }
}

impl std::error::Error for InvalidParams {}
