//! A behaviour suite for adapters.
//!
//! [`adapter_tests!`](crate::adapter_tests) makes a test of each case. It takes an expression that
//! begins a new cluster: a closure that makes the adapter of one more of its nodes. The expression
//! is evaluated for each test, so that tests which run at the same time do not hear each other: on
//! a broker that they share, give each cluster a prefix of its own.
//!
//! In `tests/conformance.rs` of a crate, which needs tokio's feature `macros` for its tests:
//!
//! ```
//! use socketio_adapter::{MemoryAdapter, adapter_tests};
//!
//! fn cluster() -> impl AsyncFn() -> MemoryAdapter {
//!     let cluster = MemoryAdapter::new();
//!     async move || cluster.clone()
//! }
//!
//! adapter_tests!(cluster());
//! ```
//!
//! What comes behind the expression is given to `#[tokio::test]`:
//! `adapter_tests!(cluster(), flavor = "multi_thread")`.
//!
//! Each case makes up to three nodes and gives them sockets that write down what arrives. It panics
//! with the rule that the adapter breaks, and with what came instead of what. Cases wait for what
//! must come, ten seconds at most; that nothing more comes they learn from messages which are sent
//! afterwards. So an adapter that keeps the rules is tested as fast as it is, but for a second in
//! those cases that are about a node which does not answer.
//!
//! A case is a function, too, and can be called by itself.

mod acks;
mod broadcast;
mod membership;
mod node;
mod servers;
mod sockets;

pub use acks::*;
pub use broadcast::*;
pub use membership::*;
pub use servers::*;
pub use sockets::*;

/// Makes a test of each case of the [behaviour suite](crate::conformance).
#[macro_export]
macro_rules! adapter_tests {
    ($cluster:expr $(, $($test:tt)+)?) => {
        $crate::adapter_tests! { @each ($cluster) ($($($test)+)?)
            // broadcast.rs
            events_reach_every_other_node_once
            arguments_arrive_unaltered
            names_may_be_any_text
            selections_arrive_unaltered
            options_arrive_unaltered
            events_of_one_node_keep_their_order
            events_of_many_nodes_keep_the_order_of_each
            different_messages_keep_their_order
            large_events_arrive
            namespaces_do_not_mix
            a_node_without_the_namespace_is_no_peer
            a_node_may_be_alone
            // acks.rs
            acknowledgements_of_all_nodes_come
            acknowledgements_may_be_binary
            acknowledgements_of_nobody_come_at_once
            acknowledgements_of_who_is_silent_time_out
            acknowledgements_do_not_wait_for_a_node_that_leaves
            acknowledgements_reach_the_node_that_asked
            many_questions_do_not_mix
            // sockets.rs
            sockets_join_rooms
            sockets_leave_rooms
            sockets_are_disconnected
            sockets_are_fetched
            sockets_arrive_unaltered
            many_sockets_are_fetched
            sockets_of_who_is_silent_time_out
            sockets_do_not_wait_for_a_node_that_leaves
            // servers.rs
            server_side_events_reach_every_other_node_once
            server_side_events_are_answered
            server_side_events_without_an_answer_time_out
            server_side_events_do_not_wait_for_a_node_that_leaves
            // membership.rs
            servers_are_counted
            a_closed_namespace_is_silent
            a_dropped_namespace_is_closed
            a_namespace_can_be_closed_twice
            a_namespace_can_be_opened_again
            a_late_node_gets_what_comes_from_now_on
        }
    };
    (@each ($cluster:expr) $test:tt $($case:ident)*) => {
        $(
            #[::tokio::test $test]
            async fn $case() {
                $crate::conformance::$case($cluster).await;
            }
        )*
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_in_the_macro() {
        let list = include_str!("mod.rs");
        for file in [
            include_str!("acks.rs"),
            include_str!("broadcast.rs"),
            include_str!("membership.rs"),
            include_str!("servers.rs"),
            include_str!("sockets.rs"),
        ] {
            for rest in file.split("pub async fn ").skip(1) {
                let name = rest.split(['<', '(']).next().unwrap();
                assert!(list.contains(&format!(" {name}\n")), "{name}");
            }
        }
    }
}
