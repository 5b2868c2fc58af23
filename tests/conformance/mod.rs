//! Every scenario over every transport, one test each, against an emulator of its own.

use hubward::TransportKind;
use hubward_tests::{ALL, Target};

/// One test a scenario and transport; a test that checks that none is forgotten.
macro_rules! on_every_transport {
    ($($scenario:ident),+ $(,)?) => {
        const LISTED: &[&str] = &[$(stringify!($scenario)),+];

        $(
            mod $scenario {
                use super::{TransportKind, run};

                #[tokio::test(flavor = "multi_thread")]
                async fn https() {
                    run(stringify!($scenario), TransportKind::Https).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn mqtt() {
                    run(stringify!($scenario), TransportKind::Mqtt).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn mqtt_ws() {
                    run(stringify!($scenario), TransportKind::MqttWs).await;
                }
            }
        )+
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

#[test]
fn every_scenario_is_run() {
    let known: Vec<&str> = ALL.iter().map(|it| it.name).collect();
    assert_eq!(LISTED, known);
}

async fn run(name: &str, kind: TransportKind) {
    let scenario = ALL.iter().find(|it| it.name == name).expect("a scenario of this name");
    let outcome = scenario.run(&Target::Emulator, kind).await.expect("the emulator runs every scenario");
    if let Err(problem) = outcome {
        panic!("{name} over {kind}: {problem}");
    }
}
