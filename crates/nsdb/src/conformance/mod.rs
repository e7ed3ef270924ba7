//! One suite of tests that every engine passes.
//!
//! An engine's crate has a [`Fixture`] and, in its tests, `mn_nsdb::conformance!(ThatFixture);`.

mod concurrency;
mod reference;
mod scene;
mod sequence;
mod session;
mod table;
mod transaction;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::Store;

pub use concurrency::*;
pub use reference::*;
pub use sequence::*;
pub use session::*;
pub use table::*;
pub use transaction::*;
pub use watch::*;

/// The grace time that a fixture's database has to have.
pub const GRACE_FOR: Duration = Duration::from_millis(600);

/// An engine under test.
#[async_trait]
pub trait Fixture: Send {
    /// Starts an empty database whose grace time is [`GRACE_FOR`].
    async fn start() -> Self
    where
        Self: Sized;

    /// A handle of it. Every call may give another one of the same database.
    async fn store(&self) -> Arc<dyn Store>;

    /// Stops the database and starts it again on what it has stored, all handles being useless
    /// from then on; or says that this engine cannot (`false`), which ends the test.
    async fn restart(&mut self) -> bool {
        false
    }
}

/// Makes a test of each law of the suite, for one [`Fixture`].
#[macro_export]
macro_rules! conformance {
    ($fixture:ty) => {
        $crate::conformance_tests! { $fixture:
            a_created_object_is_read_back_with_its_revision
            a_list_has_a_class_in_the_order_of_its_ids
            an_update_needs_the_version_it_read
            a_delete_may_need_a_version
            a_check_guards_what_a_decision_read
            a_transaction_happens_whole_or_not_at_all
            later_operations_see_earlier_ones
            deletion_and_re_creation_are_told_apart
            too_large_a_transaction_is_refused
            a_document_must_be_an_object_that_holds_what_it_refers_to
            a_transaction_without_a_write_makes_no_revision
            nothing_refers_to_what_is_not_there
            clearing_empties_the_field_or_takes_the_element
            a_removed_element_takes_its_other_references_along
            cascades_go_all_the_way
            a_refusal_keeps_everything
            a_refusal_is_decided_at_the_end
            referrers_are_found_by_class
            a_first_picture_is_complete
            a_batch_has_exactly_what_the_selectors_match
            an_object_that_stops_referring_is_reported_as_gone
            selectors_come_and_go_while_the_watch_runs
            a_selector_that_is_removed_has_an_end_in_order
            a_table_that_is_watched_no_more_has_an_end_too
            a_rule_is_never_missing_while_it_is_replaced
            a_slow_watcher_ends_at_the_latest_state
            a_watch_of_one_entry_sees_only_that
            every_owner_has_an_entry_of_its_own
            a_lease_is_one_host_s_until_it_gives_it_back
            a_table_goes_with_its_device
            an_entry_needs_its_subject
            a_port_s_location_goes_with_the_port
            entries_need_a_live_session
            an_epoch_is_one_more_than_any_before
            the_next_life_takes_entries_over
            the_end_of_a_session_and_the_grace_time_remove_entries
            a_session_lives_while_it_is_renewed
            a_deleted_host_loses_entries_and_session
            sessions_and_everything_else_survive_a_restart
            numbers_are_never_given_twice
            of_concurrent_updates_one_wins
            watchers_of_concurrent_writers_end_at_the_same_state
            long_lists_are_whole
        }
    };
}

/// What [`conformance!`] is made of.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:ty: $($law:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                let fixture = <$fixture as $crate::conformance::Fixture>::start().await;
                $crate::conformance::$law(fixture).await;
            }
        )*

        #[test]
        fn no_law_is_left_out() {
            let tested = [$(stringify!($law)),*];
            assert_eq!($crate::conformance::laws(), tested.len());
        }
    };
}

/// How many laws there are.
#[doc(hidden)]
#[must_use]
pub fn laws() -> usize {
    let files = [
        include_str!("concurrency.rs"),
        include_str!("reference.rs"),
        include_str!("sequence.rs"),
        include_str!("session.rs"),
        include_str!("table.rs"),
        include_str!("transaction.rs"),
        include_str!("watch.rs"),
    ];
    files.iter().map(|text| text.matches("\npub async fn ").count()).sum()
}
