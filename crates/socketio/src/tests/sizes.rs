//! What an idle connection weighs.

use crate::{Client, handler::Event, namespace::Member};

#[test]
fn a_connection_is_small() {
    assert!(size_of::<Client>() <= 176, "{}", size_of::<Client>());
}

#[test]
fn what_is_made_for_an_event_is_small() {
    assert!(size_of::<Event>() <= 112, "{}", size_of::<Event>());
}

#[test]
fn a_place_in_a_room_is_two_pointers() {
    assert_eq!(size_of::<Member>(), 2 * size_of::<usize>());
}
