//! Hubs that change the desired properties as fast as they can.

use hubward_tests::packets;

use super::child::{End, withstands};
use super::peer::{Flood, Start};

/// Each change adds another property of 2 KB.
#[derive(Debug)]
struct NewProperties {
    version: u64,
    /// If `true`, the twin that a client reads contains the added properties.
    in_twin: bool,
}

impl NewProperties {
    const fn new(in_twin: bool) -> Self {
        Self { version: 1, in_twin }
    }

    fn property(version: u64) -> String {
        format!("\"p{version}\":\"{}\"", "x".repeat(2000))
    }
}

impl Flood for NewProperties {
    /// The flood starts when the client has read the twin twice: once for the command, and once for the desired
    /// properties that it follows. Before the second read, the client would not apply the changes.
    const START: Start = Start::TwinReads(2);

    fn next(&mut self, out: &mut Vec<u8>) {
        self.version += 1;
        let (version, property) = (self.version, Self::property(self.version));
        let topic = format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
        let body = format!("{{{property},\"$version\":{version}}}");
        out.extend(packets::publish(&topic, body.as_bytes(), 0, 0));
    }

    /// Returns the twin. If `in_twin` is `true`, the twin contains the last 200 properties that the hub added (up to
    /// 400 KB). Such a twin is larger than the client accepts, but it still fits into a packet that the client accepts.
    fn twin(&self) -> Vec<u8> {
        let first = if self.in_twin { self.version.saturating_sub(200).max(1) } else { self.version };
        let mut desired: Vec<_> = (first + 1..=self.version).map(Self::property).collect();
        desired.push(format!("\"$version\":{}", self.version));
        format!("{{\"desired\":{{{}}},\"reported\":{{\"$version\":1}}}}", desired.join(",")).into_bytes()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_desired_properties_that_are_not_in_the_twin() {
    let run = withstands(&["run"], End::For, || NewProperties::new(false)).await;
    assert!(run.log.is_empty(), "the output shows the error, so the log does not repeat it: {run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_desired_properties_that_are_in_the_twin() {
    let run = withstands(&["run"], End::Interrupt, || NewProperties::new(true)).await;
    assert!(run.output.iter().any(|it| it.contains("broke the protocol")), "{run:?}");
}
