//! Every scenario over every transport. Each combination is one test with its own emulator.

use hubward::TransportKind;
use hubward_tests::{ALL, Over, Ran, Target};

/// Defines one test for each scenario and each of the transports HTTPS, MQTT and MQTT over WebSocket.
macro_rules! on_every_transport {
    ($($scenario:ident),+ $(,)?) => {
        const ON_EVERY: &[&str] = &[$(stringify!($scenario)),+];

        $(scenario_tests!($scenario, https: Https, mqtt: Mqtt, mqtt_ws: MqttWs);)+
    };
}

/// Defines one test for each scenario and each transport that reaches a hub.
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
    closes_in_the_middle,
    group_device_derives_its_key,
    individual_wins_over_its_group,
    device_id_may_differ,
    secondary_key_works_too,
    payload_goes_out_and_comes_back,
    several_hubs_share_the_devices,
    a_moved_device_takes_its_twin_along,
    a_reset_device_begins_anew,
    a_device_that_never_moves_stays,
    a_known_device_is_back_at_its_hub,
    an_allocation_that_is_not_emulated_fails_clearly,
    changed_keys_count_from_the_next_registration,
    a_disabled_enrollment_bars_the_way_to_its_group,
    telemetry_arrives_as_sent,
    waits_as_long_as_asked,
    survives_odd_answers,
    a_cut_while_assigning_resumes,
    grace_of_an_expired_token,
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
    the_cloud_sees_what_is_reported,
    the_hub_refuses_impossible_reports,
    a_throttled_twin_is_asked_again,
    a_lost_question_is_asked_again,
    desired_begins_with_the_current_state,
    desired_changes_come_by_themselves,
    desired_missed_while_offline_arrives,
    a_hundred_changes_around_disconnects,
    a_slow_reader_gets_the_newest,
    a_method_is_answered,
    methods_run_at_the_same_time,
    what_goes_wrong_in_a_method_is_answered,
    too_many_calls_are_refused,
    a_late_answer_is_dropped,
    a_call_of_an_old_connection_is_not_answered,
    odd_calls_do_no_harm,
    nothing_is_taken_before_a_receiver_exists,
    a_kept_session_delivers_later,
    a_dropped_message_comes_again,
    a_dropped_message_comes_again_on_its_connection,
    what_had_no_place_comes_again_on_its_connection,
    completion_out_of_order_is_held_back,
    every_form_of_a_property_arrives,
    abandon_and_reject_are_unsupported,
    one_receiver_at_a_time,
    a_reader_that_never_reads_stalls_nothing,
    a_module_sends_through_outputs,
    a_module_receives_through_inputs,
    a_module_has_its_own_twin_and_methods,
    the_identity_arrives,
    everything_works_again_after_the_hub_closes,
    a_renewal_disturbs_no_call,
    closes_from_inside_a_handler,
    closes_while_it_cannot_connect,
);

#[test]
fn every_scenario_is_run() {
    for (over, listed) in [(Over::Every, ON_EVERY), (Over::Hub, ON_HUB)] {
        let known: Vec<&str> = ALL.iter().filter(|it| it.over == over).map(|it| it.name).collect();
        assert_eq!(listed, known);
    }
    let hub = ALL.iter().find(|it| it.over == Over::Hub).expect("a scenario at a hub");
    let about: Vec<_> = TransportKind::ALL.into_iter().filter(|kind| hub.is_about(*kind)).collect();
    assert_eq!(about, [TransportKind::Mqtt, TransportKind::MqttWs], "the transports of `on_every_hub_transport`");
}

async fn run(name: &str, kind: TransportKind) {
    let scenario = ALL.iter().find(|it| it.name == name).expect("a scenario of this name");
    match scenario.run(&Target::Emulator, kind).await {
        Ran::Ended(Ok(())) => {}
        Ran::Ended(Err(problem)) => panic!("{name} over {kind}: {problem}"),
        other => panic!("{name} over {kind} was not run: {other:?}"),
    }
}
