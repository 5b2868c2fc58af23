//! The scenarios, in the order of the table.

mod anywhere;
mod cloud_messages;
mod cloud_side;
mod desired;
mod methods;
mod modules;
mod redelivery;
mod reprovisioning;
mod staying;
mod telemetry;
mod twin;

use crate::scenario::{Body, Over, Scenario};

/// A scenario that may run against a live service.
macro_rules! anywhere {
    ($over:ident, $body:path) => {
        Scenario {
            name: name(stringify!($body)),
            body: Body::Anywhere(|settings| Box::pin($body(settings))),
            over: Over::$over,
        }
    };
}

/// A scenario that needs the emulator.
macro_rules! emulator {
    ($over:ident, $body:path) => {
        Scenario {
            name: name(stringify!($body)),
            body: Body::Emulator(|cloud, kind| Box::pin($body(cloud, kind))),
            over: Over::$over,
        }
    };
}

/// All of them.
pub const ALL: &[Scenario] = &[
    anywhere!(Every, anywhere::provisions),
    anywhere!(Every, anywhere::provisions_again),
    anywhere!(Every, anywhere::sends_ten_at_once),
    anywhere!(Every, anywhere::sends_every_property),
    anywhere!(Every, anywhere::refuses_oversize_before_sending),
    anywhere!(Every, anywhere::closes_in_the_middle),
    emulator!(Every, cloud_side::group_device_derives_its_key),
    emulator!(Every, cloud_side::individual_wins_over_its_group),
    emulator!(Every, cloud_side::device_id_may_differ),
    emulator!(Every, cloud_side::secondary_key_works_too),
    emulator!(Every, cloud_side::payload_goes_out_and_comes_back),
    emulator!(Every, cloud_side::several_hubs_share_the_devices),
    emulator!(Every, reprovisioning::a_moved_device_takes_its_twin_along),
    emulator!(Every, reprovisioning::a_reset_device_begins_anew),
    emulator!(Every, reprovisioning::a_device_that_never_moves_stays),
    emulator!(Every, reprovisioning::a_known_device_is_back_at_its_hub),
    emulator!(Every, reprovisioning::an_allocation_that_is_not_emulated_fails_clearly),
    emulator!(Every, reprovisioning::changed_keys_count_from_the_next_registration),
    emulator!(Every, reprovisioning::a_disabled_enrollment_bars_the_way_to_its_group),
    emulator!(Every, cloud_side::telemetry_arrives_as_sent),
    emulator!(Every, cloud_side::waits_as_long_as_asked),
    emulator!(Every, cloud_side::survives_odd_answers),
    emulator!(Every, cloud_side::a_cut_while_assigning_resumes),
    emulator!(Every, cloud_side::grace_of_an_expired_token),
    emulator!(Every, cloud_side::reconnects_and_resends),
    emulator!(Every, cloud_side::a_missing_puback_is_sent_again),
    emulator!(Every, cloud_side::renews_its_token),
    emulator!(Every, cloud_side::takes_over_from_an_older_connection),
    emulator!(Hub, telemetry::sends_every_system_property),
    emulator!(Hub, telemetry::every_character_arrives),
    emulator!(Hub, telemetry::the_size_limit_is_exact),
    anywhere!(Hub, twin::reads_its_twin),
    anywhere!(Hub, twin::reports_and_reads_back),
    anywhere!(Hub, twin::refuses_impossible_reports),
    emulator!(Hub, twin::the_cloud_sees_what_is_reported),
    emulator!(Hub, twin::the_hub_refuses_impossible_reports),
    emulator!(Hub, twin::a_throttled_twin_is_asked_again),
    emulator!(Hub, twin::a_lost_question_is_asked_again),
    emulator!(Hub, desired::desired_begins_with_the_current_state),
    emulator!(Hub, desired::desired_changes_come_by_themselves),
    emulator!(Hub, desired::desired_missed_while_offline_arrives),
    emulator!(Hub, desired::a_hundred_changes_around_disconnects),
    emulator!(Hub, desired::a_slow_reader_gets_the_newest),
    emulator!(Hub, methods::a_method_is_answered),
    emulator!(Hub, methods::methods_run_at_the_same_time),
    emulator!(Hub, methods::what_goes_wrong_in_a_method_is_answered),
    emulator!(Hub, methods::too_many_calls_are_refused),
    emulator!(Hub, methods::a_late_answer_is_dropped),
    emulator!(Hub, methods::a_call_of_an_old_connection_is_not_answered),
    emulator!(Hub, methods::odd_calls_do_no_harm),
    emulator!(Hub, cloud_messages::nothing_is_taken_before_a_receiver_exists),
    emulator!(Hub, cloud_messages::a_kept_session_delivers_later),
    emulator!(Hub, cloud_messages::a_dropped_message_comes_again),
    emulator!(Hub, redelivery::a_dropped_message_comes_again_on_its_connection),
    emulator!(Hub, redelivery::what_had_no_place_comes_again_on_its_connection),
    emulator!(Hub, cloud_messages::completion_out_of_order_is_held_back),
    emulator!(Hub, cloud_messages::every_form_of_a_property_arrives),
    emulator!(Hub, cloud_messages::abandon_and_reject_are_unsupported),
    emulator!(Hub, cloud_messages::one_receiver_at_a_time),
    emulator!(Hub, cloud_messages::a_reader_that_never_reads_stalls_nothing),
    emulator!(Hub, modules::a_module_sends_through_outputs),
    emulator!(Hub, modules::a_module_receives_through_inputs),
    emulator!(Hub, modules::a_module_has_its_own_twin_and_methods),
    emulator!(Hub, modules::the_identity_arrives),
    emulator!(Hub, staying::everything_works_again_after_the_hub_closes),
    emulator!(Hub, staying::a_renewal_disturbs_no_call),
    emulator!(Hub, staying::closes_from_inside_a_handler),
    emulator!(Hub, staying::closes_while_it_cannot_connect),
];

/// The last part of a path: the function's name is the scenario's.
const fn name(path: &'static str) -> &'static str {
    let bytes = path.as_bytes();
    let mut at = bytes.len();
    while at > 0 && bytes[at - 1] != b':' && bytes[at - 1] != b' ' {
        at -= 1;
    }
    path.split_at(at).1
}
