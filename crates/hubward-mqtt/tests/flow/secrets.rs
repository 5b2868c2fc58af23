//! Nothing that can be printed or logged holds the token.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use hubward_mqtt::{MqttDps, MqttHub};
use hubward_transport::{DpsTransport, HubTransport, SasToken, TransportKind};
use tokio::join;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::dps::{self, ASSIGNING, token, who};
use crate::hub::{self, exchange, login};
use crate::peer::{CONNACK, network, publish};

/// The signature that both tokens of these tests have.
const SIGNATURE: &str = "c2VjcmV0";

#[derive(Debug, Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("not poisoned")).into_owned()
    }

    /// Also as a list of numbers, which is how `Debug` prints bytes.
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
    for planted in [&dps::TOKEN as &dyn std::fmt::Debug, &dps::TOKEN.as_bytes(), &hub::TOKEN] {
        let captured = Captured::default();
        captured.print(planted);
        assert!(captured.has_secret(), "{planted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn neither_trace_nor_debug_show_the_token() {
    let captured = Captured::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(captured.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    // DPS: half written, in use, refused.
    for connack in [&b"\x20\x02\x00\x00"[..], b"\x20\x02\x00\x05", b"\x99"] {
        let (dialer, mut listener) = network(64);
        let mut dps = MqttDps::new(TransportKind::Mqtt, hubward_dial::Endpoint::new("h", 8883), dialer);
        let (who, token) = (who("dev-1"), token());
        let (result, _peer) = join!(dps.register(&who, Some(&token)), async {
            let mut peer = listener.accept().await;
            peer.packet().await;
            peer.send(connack).await;
            if connack == CONNACK {
                peer.packet().await;
                peer.send(b"\x90\x03\xff\x00\x01").await;
                peer.packet().await;
                peer.send(&publish(Some(1), "$dps/registrations/res/202/?$rid=9", dps::TOKEN.as_bytes())).await;
                peer.send(&publish(Some(1), "$dps/registrations/res/202/?$rid=1", ASSIGNING)).await;
            }
            peer
        });
        captured.print(&dps);
        captured.print(&result);
        dps.close().await;
    }

    // A hub: before anything was written, half written, in use, refused.
    let (dialer, mut listener) = network(64);
    let hub = MqttHub::new(TransportKind::Mqtt, dialer, 8883);
    captured.print(&hub);
    let token = SasToken::parse(hub::TOKEN).expect("a token");
    for connack in [&b"\x20\x02\x00\x00"[..], b"\x20\x02\x00\x05"] {
        let mut connection = hub.open(&login("d1"), Some(&token)).await.expect("a connection");
        captured.print(&connection);
        let mut peer = listener.accept().await;
        let (result, ()) = join!(exchange(&mut *connection), async {
            peer.packet().await;
            peer.send(connack).await;
        });
        captured.print(&connection);
        captured.print(&result);
    }

    let text = captured.text();
    assert!(
        text.contains("MQTT login accepted") && text.contains("MQTT session over"),
        "the trace was captured: {text}"
    );
    assert!(!captured.has_secret(), "{text}");
}
