//! A device that keeps itself connected, with the embedded emulator: starts, moves, refusals, new credentials.
//!
//! The waits of the policy are short here. The tests of the crate `hubward` check the real waits, with a clock of their
//! own.

mod credentials;
mod issuance;
mod moves;
mod scene;
mod starts;
mod trouble;

/// Defines one test for each function, with each of the transports HTTPS (to DPS; MQTT to the hub), MQTT and MQTT over
/// WebSocket.
macro_rules! on_every_transport {
    ($($test:ident),+ $(,)?) => {
        $(
            mod $test {
                use hubward::TransportKind;

                #[tokio::test(flavor = "multi_thread")]
                async fn https() {
                    super::$test(TransportKind::Https).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn mqtt() {
                    super::$test(TransportKind::Mqtt).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn mqtt_ws() {
                    super::$test(TransportKind::MqttWs).await;
                }
            }
        )+
    };
}

use on_every_transport;
