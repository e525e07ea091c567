//! The memory of requests that are over, for the next requests and responses of this thread.

use std::{cell::RefCell, mem};

use http::{Extensions, HeaderMap};

use crate::Peer;

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

#[derive(Default)]
struct Spare {
    /// They are empty.
    headers: Vec<HeaderMap>,
    /// They are empty, or have a [`Peer`] and nothing else.
    extensions: Vec<Extensions>,
}

/// Takes the headers and the extensions of a request of which nothing is needed any more.
pub(crate) fn recycle(headers: &mut HeaderMap, extensions: &mut Extensions) {
    let (mut headers, mut extensions) = (mem::take(headers), mem::take(extensions));
    let (has_room, has_values) = (headers.capacity() > 0, !extensions.is_empty());
    // Before anything is borrowed: what the application has put there may do anything when it goes.
    headers.clear();
    if extensions.len() > 1 || extensions.get::<Peer>().is_none() {
        extensions.clear();
    }
    // Fails when the thread ends.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.headers.len() < KEPT && has_room && headers.capacity() <= LARGEST {
            spare.headers.push(headers);
        }
        if spare.extensions.len() < KEPT && has_values {
            spare.extensions.push(extensions);
        }
    });
}

/// No headers yet.
pub(crate) fn headers() -> HeaderMap {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().headers.pop());
    spare.ok().flatten().unwrap_or_default()
}

/// The peer and nothing else.
pub(crate) fn extensions(peer: Peer) -> Extensions {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().extensions.pop());
    let mut extensions = spare.ok().flatten().unwrap_or_default();
    match extensions.get_mut() {
        Some(it) => *it = peer,
        None => drop(extensions.insert(peer)),
    }
    extensions
}

/// How many of each are kept, for a turn of the runtime in which many requests come.
const KEPT: usize = 32;

/// Headers for which there is more room than this are not kept.
const LARGEST: usize = 32;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn nothing_of_a_request_is_in_the_next_one() {
        let peers = [1, 2].map(|port| Peer::new(([127, 0, 0, 1], port).into()));
        for more in [false, true] {
            let mut of_request = extensions(peers[0]);
            if more {
                of_request.insert("secret");
            }
            let mut headers = HeaderMap::new();
            headers.append("cookie", HeaderValue::from_static("a"));
            headers.append("cookie", HeaderValue::from_static("b"));
            recycle(&mut headers, &mut of_request);
            assert!(headers.is_empty() && of_request.is_empty());
            let next = extensions(peers[1]);
            assert_eq!((next.len(), next.get()), (1, Some(&peers[1])));
            let next = super::headers();
            assert!(next.is_empty() && next.capacity() > 0);
        }
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        for _ in 0..2 * KEPT {
            let mut headers = HeaderMap::with_capacity(8);
            recycle(&mut headers, &mut extensions_of_one());
        }
        recycle(&mut HeaderMap::with_capacity(100), &mut Extensions::new());
        SPARE.with_borrow(|spare| {
            assert_eq!((spare.headers.len(), spare.extensions.len()), (KEPT, KEPT));
            assert!(spare.headers.iter().all(|it| it.capacity() <= LARGEST));
        });
    }

    fn extensions_of_one() -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(1);
        extensions
    }
}
