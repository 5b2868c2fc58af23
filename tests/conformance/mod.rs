//! Runs every scenario over every transport. Each pair of scenario and transport is one test with its own emulator.

use hubward::TransportKind;
use hubward_tests::{ALL, RunResult, Target, Transports};

/// Defines one test for each scenario with each of the transports HTTPS, MQTT and MQTT over WebSocket.
macro_rules! on_every_transport {
    ($($scenario:ident),+ $(,)?) => {
        const ON_EVERY: &[&str] = &[$(stringify!($scenario)),+];

        $(scenario_tests!($scenario, https: Https, mqtt: Mqtt, mqtt_ws: MqttWs);)+
    };
}

/// Defines one test for each scenario with each of the transports MQTT and MQTT over WebSocket. These scenarios do not
/// run over HTTPS: they use only the hub, to which the client cannot connect over HTTPS.
macro_rules! on_every_hub_transport {
    ($($scenario:ident),+ $(,)?) => {
        const ON_HUB: &[&str] = &[$(stringify!($scenario)),+];

        $(scenario_tests!($scenario, mqtt: Mqtt, mqtt_ws: MqttWs);)+
    };
}

macro_rules! scenario_tests {
    ($scenario:ident, $($transport:ident: $kind:ident),+) => {
        mod $scenario {
            use super::{TransportKind, run};

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $transport() {
                    run(stringify!($scenario), TransportKind::$kind).await;
                }
            )+
        }
    };
}

on_every_transport!(
    provisions,
    provisions_again,
    sends_ten_at_once,
    sends_every_property,
    refuses_oversize_before_sending,
    closes_with_queued_messages,
    group_device_derives_its_key,
    individual_enrollment_wins_over_its_group,
    device_id_may_differ_from_registration_id,
    secondary_key_works,
    payload_is_sent_and_returned,
    devices_are_spread_over_the_hubs,
    a_moved_device_keeps_its_twin,
    a_reset_device_starts_with_the_initial_twin,
    policy_never_keeps_a_device_at_its_hub,
    a_known_device_returns_to_its_hub,
    an_unsupported_allocation_policy_fails_clearly,
    new_keys_take_effect_at_the_next_registration,
    a_disabled_enrollment_blocks_a_device_of_a_group,
    telemetry_arrives_as_sent,
    waits_for_retry_after,
    ignores_unexpected_answers,
    a_connection_lost_while_assigning_resumes,
    an_expired_token_has_a_grace_period,
    reconnects_and_resends,
    a_missing_puback_is_sent_again,
    renews_its_token,
    takes_over_from_an_older_connection,
);

on_every_hub_transport!(
    sends_every_system_property,
    every_character_arrives,
    the_size_limit_is_exact,
    reads_its_twin,
    reports_and_reads_back,
    refuses_impossible_reports,
    the_cloud_sees_reported_properties,
    the_hub_refuses_impossible_reports,
    a_throttled_twin_request_is_repeated,
    a_lost_twin_request_is_sent_again,
    desired_properties_start_with_the_current_state,
    desired_changes_are_delivered,
    desired_changes_while_offline_are_delivered,
    a_hundred_changes_around_disconnects,
    a_slow_reader_gets_the_newest_state,
    a_method_is_answered,
    method_calls_run_at_the_same_time,
    method_failures_are_answered,
    too_many_calls_are_refused,
    a_late_answer_is_dropped,
    a_call_of_an_old_connection_is_not_answered,
    unexpected_calls_are_harmless,
    no_message_is_received_without_a_receiver,
    a_kept_session_keeps_messages,
    a_dropped_message_is_redelivered,
    a_dropped_message_is_redelivered_on_its_connection,
    a_message_beyond_the_queue_is_redelivered_on_its_connection,
    early_completion_is_delayed,
    every_form_of_a_property_arrives,
    abandon_and_reject_are_unsupported,
    one_receiver_at_a_time,
    a_receiver_that_is_not_read_blocks_nothing,
    a_module_sends_through_outputs,
    a_module_receives_through_inputs,
    a_module_has_its_own_twin_and_methods,
    the_hub_receives_identity_and_model,
    every_feature_works_after_the_hub_closes,
    a_renewal_waits_for_calls_and_messages,
    closes_from_inside_a_handler,
    closes_while_it_cannot_connect,
);

#[test]
fn every_scenario_is_run() {
    for (over, listed) in [(Transports::All, ON_EVERY), (Transports::Hub, ON_HUB)] {
        let expected: Vec<&str> = ALL.iter().filter(|it| it.over == over).map(|it| it.name).collect();
        assert_eq!(listed, expected);
    }
    let hub = ALL.iter().find(|it| it.over == Transports::Hub).expect("a scenario at a hub");
    let transports: Vec<_> = TransportKind::ALL.into_iter().filter(|kind| hub.applies_to(*kind)).collect();
    assert_eq!(transports, [TransportKind::Mqtt, TransportKind::MqttWs], "the transports of `on_every_hub_transport`");
}

async fn run(name: &str, kind: TransportKind) {
    let scenario = ALL.iter().find(|it| it.name == name).expect("a scenario of this name");
    match scenario.run(&Target::Emulator, kind).await {
        RunResult::Ended(Ok(())) => {}
        RunResult::Ended(Err(problem)) => panic!("{name} over {kind}: {problem}"),
        other => panic!("{name} over {kind} was not run: {other:?}"),
    }
}
