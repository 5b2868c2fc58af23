//! Desired properties that are new in each change.

use hubward_tests::packets;

use super::child::{End, withstands};
use super::peer::{Begin, Flood};

/// Each change brings another property of 2 KB.
#[derive(Debug)]
struct NewProperties {
    version: u64,
    /// Whether the twin that the hub keeps has them too.
    honest: bool,
}

impl NewProperties {
    const fn new(honest: bool) -> Self {
        Self { version: 1, honest }
    }

    fn property(version: u64) -> String {
        format!("\"p{version}\":\"{}\"", "x".repeat(2000))
    }
}

impl Flood for NewProperties {
    /// The command has asked, and its client, which follows the twin from then on.
    const BEGIN: Begin = Begin::Twins(2);

    fn next(&mut self, out: &mut Vec<u8>) {
        self.version += 1;
        let (version, property) = (self.version, Self::property(self.version));
        let topic = format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
        let body = format!("{{{property},\"$version\":{version}}}");
        out.extend(packets::publish(&topic, body.as_bytes(), 0, 0));
    }

    /// At most 400 KB of it: more than a client takes, and less than the largest packet.
    fn twin(&self) -> Vec<u8> {
        let first = if self.honest { self.version.saturating_sub(200).max(1) } else { self.version };
        let mut desired: Vec<_> = (first + 1..=self.version).map(Self::property).collect();
        desired.push(format!("\"$version\":{}", self.version));
        format!("{{\"desired\":{{{}}},\"reported\":{{\"$version\":1}}}}", desired.join(",")).into_bytes()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_desired_properties_that_the_twin_does_not_have() {
    let run = withstands(&["run"], End::For, || NewProperties::new(false)).await;
    assert!(run.log.is_empty(), "the state says it, and the log does not repeat it: {run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_desired_properties_that_the_twin_has_too() {
    let run = withstands(&["run"], End::Interrupt, || NewProperties::new(true)).await;
    assert!(run.output.iter().any(|it| it.contains("broke the protocol")), "{run:?}");
}
