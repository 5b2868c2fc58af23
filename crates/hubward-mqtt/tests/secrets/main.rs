//! Checks that no `Debug` output and no log contains the token. This test is a separate program: in one program, tests
//! on other threads would change which log events this test captures.

#[expect(dead_code, reason = "made for the flow tests, which use all of it")]
#[path = "../flow/peer.rs"]
mod peer;

use std::future::poll_fn;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use hubward_mqtt::{MqttDps, MqttHub};
use hubward_transport::{
    DeviceId, DpsTransport, HubHost, HubIdentity, HubLogin, HubTransport, IdScope, Register, RegistrationId, SasToken,
    TransportKind,
};
use tokio::join;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::peer::{CONNACK, network, publish};

const TOKEN: &str = "SharedAccessSignature sr=h%2Fdevices%2Fd1&sig=c2VjcmV0&se=1700003600";

const SIGNATURE: &str = "c2VjcmV0";

#[derive(Debug, Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("not poisoned")).into_owned()
    }

    /// Returns whether the captured text contains the secret, as text or as a list of numbers (the `Debug` output of
    /// bytes).
    fn has_secret(&self) -> bool {
        let numbers = SIGNATURE.bytes().map(|it| it.to_string()).collect::<Vec<_>>().join(", ");
        let text = self.text();
        text.contains(SIGNATURE) || text.contains(&numbers)
    }

    fn print(&self, what: &dyn std::fmt::Debug) {
        write!(&mut &*self, "{what:?} {what:#?}").expect("memory");
    }
}

impl Write for &Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

#[test]
fn the_scanner_finds_a_planted_secret() {
    for planted in [&TOKEN as &dyn std::fmt::Debug, &TOKEN.as_bytes()] {
        let captured = Captured::default();
        captured.print(planted);
        assert!(captured.has_secret(), "{planted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn neither_trace_nor_debug_contains_the_token() {
    let captured = Captured::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(captured.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let token = SasToken::parse(TOKEN).expect("a token");
    let registration =
        Register::new(IdScope::new("0ne00000001").expect("a scope"), RegistrationId::new("dev-1").expect("an id"));
    let login =
        HubLogin::new(HubIdentity::new(HubHost::new("h").expect("a host"), DeviceId::new("d1").expect("an id")));

    // DPS: login half written, connection in use, login refused.
    for connack in [&b"\x20\x02\x00\x00"[..], b"\x20\x02\x00\x05", b"\x99"] {
        let (dialer, mut listener) = network(64);
        let mut dps = MqttDps::new(TransportKind::Mqtt, hubward_dial::Endpoint::new("h", 8883), dialer);
        let (result, _peer) = join!(dps.register(&registration, Some(&token)), async {
            let mut peer = listener.accept().await;
            peer.packet().await;
            peer.send(connack).await;
            if connack == CONNACK {
                peer.packet().await;
                peer.send(b"\x90\x03\xff\x00\x01").await;
                peer.packet().await;
                peer.send(&publish(Some(1), "$dps/registrations/res/202/?$rid=9", TOKEN.as_bytes())).await;
                peer.send(&publish(Some(1), "$dps/registrations/res/202/?$rid=1", br#"{"status":"assigning"}"#)).await;
            }
            peer
        });
        captured.print(&dps);
        captured.print(&result);
        dps.close().await;
    }

    // Captures the `Debug` output of a connection to a hub: before the login, after an accepted login and after a
    // refused login.
    //
    // The pipe is smaller than the login, so the client writes the login in several parts.
    let (dialer, mut listener) = network(64);
    let hub = MqttHub::new(TransportKind::Mqtt, dialer, 8883);
    captured.print(&hub);
    for connack in [&b"\x20\x02\x00\x00"[..], b"\x20\x02\x00\x05"] {
        let mut connection = hub.open(&login, Some(&token)).await.expect("a connection");
        captured.print(&connection);
        let mut peer = listener.accept().await;
        let mut events = Vec::new();
        let (result, ()) = join!(poll_fn(|cx| connection.poll_exchange(cx, &mut events)), async {
            peer.packet().await;
            peer.send(connack).await;
        });
        captured.print(&connection);
        captured.print(&result);
        if connack == CONNACK {
            // The log must not contain the private data of the following messages: invalid properties, a message to
            // another device, a twin response that answers no request, desired properties, a method call.
            for topic in [
                format!("devices/d1/messages/devicebound/=x&k={SIGNATURE}"),
                format!("devices/other/messages/devicebound/k={SIGNATURE}"),
                "$iothub/twin/res/200/?$rid=1-1".to_owned(),
                "$iothub/twin/PATCH/properties/desired/".to_owned(),
                "$iothub/methods/POST/m/?$rid=1".to_owned(),
            ] {
                peer.send(&publish(Some(1), &topic, SIGNATURE.as_bytes())).await;
                poll_fn(|cx| Poll::Ready(connection.poll_exchange(cx, &mut events).is_ready())).await;
            }
            captured.print(&connection);
            assert_eq!(events.len(), 5, "{events:?}");
        }
    }

    let text = captured.text();
    assert!(
        text.contains("MQTT login accepted")
            && text.contains("MQTT session ended")
            && text.contains("the properties of a message are not valid")
            && text.contains("a topic that this device does not use"),
        "the trace was captured: {text}"
    );
    assert!(!captured.has_secret(), "{text}");
}
