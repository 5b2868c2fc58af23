//! All scenarios, in the order in which the table prints them.

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

use crate::scenario::{Body, Scenario, Transports};

/// A scenario that may run against a live service.
macro_rules! anywhere {
    ($over:ident, $body:path) => {
        Scenario {
            name: name(stringify!($body)),
            body: Body::Anywhere(|settings| Box::pin($body(settings))),
            over: Transports::$over,
        }
    };
}

/// A scenario that needs the emulator.
macro_rules! emulator {
    ($over:ident, $body:path) => {
        Scenario {
            name: name(stringify!($body)),
            body: Body::Emulator(|cloud, kind| Box::pin($body(cloud, kind))),
            over: Transports::$over,
        }
    };
}

/// All scenarios.
pub const ALL: &[Scenario] = &[
    anywhere!(All, anywhere::provisions),
    anywhere!(All, anywhere::provisions_again),
    anywhere!(All, anywhere::sends_ten_at_once),
    anywhere!(All, anywhere::sends_every_property),
    anywhere!(All, anywhere::refuses_oversize_before_sending),
    anywhere!(All, anywhere::closes_with_queued_messages),
    emulator!(All, cloud_side::group_device_derives_its_key),
    emulator!(All, cloud_side::individual_enrollment_wins_over_its_group),
    emulator!(All, cloud_side::device_id_may_differ_from_registration_id),
    emulator!(All, cloud_side::secondary_key_works),
    emulator!(All, cloud_side::payload_is_sent_and_returned),
    emulator!(All, cloud_side::devices_are_spread_over_the_hubs),
    emulator!(All, reprovisioning::a_moved_device_keeps_its_twin),
    emulator!(All, reprovisioning::a_reset_device_starts_with_the_initial_twin),
    emulator!(All, reprovisioning::policy_never_keeps_a_device_at_its_hub),
    emulator!(All, reprovisioning::a_known_device_returns_to_its_hub),
    emulator!(All, reprovisioning::an_unsupported_allocation_policy_fails_clearly),
    emulator!(All, reprovisioning::new_keys_take_effect_at_the_next_registration),
    emulator!(All, reprovisioning::a_disabled_enrollment_blocks_a_device_of_a_group),
    emulator!(All, cloud_side::telemetry_arrives_as_sent),
    emulator!(All, cloud_side::waits_for_retry_after),
    emulator!(All, cloud_side::ignores_unexpected_answers),
    emulator!(All, cloud_side::a_connection_lost_while_assigning_resumes),
    emulator!(All, cloud_side::an_expired_token_has_a_grace_period),
    emulator!(All, cloud_side::reconnects_and_resends),
    emulator!(All, cloud_side::a_missing_puback_is_sent_again),
    emulator!(All, cloud_side::renews_its_token),
    emulator!(All, cloud_side::takes_over_from_an_older_connection),
    emulator!(Hub, telemetry::sends_every_system_property),
    emulator!(Hub, telemetry::every_character_arrives),
    emulator!(Hub, telemetry::the_size_limit_is_exact),
    anywhere!(Hub, twin::reads_its_twin),
    anywhere!(Hub, twin::reports_and_reads_back),
    anywhere!(Hub, twin::refuses_impossible_reports),
    emulator!(Hub, twin::the_cloud_sees_reported_properties),
    emulator!(Hub, twin::the_hub_refuses_impossible_reports),
    emulator!(Hub, twin::a_throttled_twin_request_is_repeated),
    emulator!(Hub, twin::a_lost_twin_request_is_sent_again),
    emulator!(Hub, desired::desired_properties_start_with_the_current_state),
    emulator!(Hub, desired::desired_changes_are_delivered),
    emulator!(Hub, desired::desired_changes_while_offline_are_delivered),
    emulator!(Hub, desired::a_hundred_changes_around_disconnects),
    emulator!(Hub, desired::a_slow_reader_gets_the_newest_state),
    emulator!(Hub, methods::a_method_is_answered),
    emulator!(Hub, methods::method_calls_run_at_the_same_time),
    emulator!(Hub, methods::method_failures_are_answered),
    emulator!(Hub, methods::too_many_calls_are_refused),
    emulator!(Hub, methods::a_late_answer_is_dropped),
    emulator!(Hub, methods::a_call_of_an_old_connection_is_not_answered),
    emulator!(Hub, methods::unexpected_calls_are_harmless),
    emulator!(Hub, cloud_messages::no_message_is_received_without_a_receiver),
    emulator!(Hub, cloud_messages::a_kept_session_keeps_messages),
    emulator!(Hub, cloud_messages::a_dropped_message_is_redelivered),
    emulator!(Hub, redelivery::a_dropped_message_is_redelivered_on_its_connection),
    emulator!(Hub, redelivery::a_message_beyond_the_queue_is_redelivered_on_its_connection),
    emulator!(Hub, cloud_messages::early_completion_is_delayed),
    emulator!(Hub, cloud_messages::every_form_of_a_property_arrives),
    emulator!(Hub, cloud_messages::abandon_and_reject_are_unsupported),
    emulator!(Hub, cloud_messages::one_receiver_at_a_time),
    emulator!(Hub, cloud_messages::a_receiver_that_is_not_read_blocks_nothing),
    emulator!(Hub, modules::a_module_sends_through_outputs),
    emulator!(Hub, modules::a_module_receives_through_inputs),
    emulator!(Hub, modules::a_module_has_its_own_twin_and_methods),
    emulator!(Hub, modules::the_hub_receives_identity_and_model),
    emulator!(Hub, staying::every_feature_works_after_the_hub_closes),
    emulator!(Hub, staying::a_renewal_waits_for_calls_and_messages),
    emulator!(Hub, staying::closes_from_inside_a_handler),
    emulator!(Hub, staying::closes_while_it_cannot_connect),
];

/// Returns the last part of a path. A scenario has the same name as its function.
const fn name(path: &'static str) -> &'static str {
    let bytes = path.as_bytes();
    let mut at = bytes.len();
    while at > 0 && bytes[at - 1] != b':' && bytes[at - 1] != b' ' {
        at -= 1;
    }
    path.split_at(at).1
}
