//! Packets that make a client warn, or that it ignores.

use hubward_tests::packets;

use super::child::{End, Run, withstands};
use super::peer::{Begin, Flood};

/// Calls of methods that do not exist, with long names.
#[derive(Debug, Default)]
struct UnknownMethods {
    calls: u64,
}

impl Flood for UnknownMethods {
    const BEGIN: Begin = Begin::Login;

    fn next(&mut self, out: &mut Vec<u8>) {
        self.calls += 1;
        let topic = format!("$iothub/methods/POST/{}%1B%5B2J/?$rid={}", "unknown".repeat(40), self.calls);
        out.extend(packets::publish(&topic, b"{}", 0, 0));
    }
}

/// The same from a hub that reads no answers.
#[derive(Debug, Default)]
struct DeafCaller(UnknownMethods);

impl Flood for DeafCaller {
    const BEGIN: Begin = Begin::Twins(2);
    const READS: bool = false;

    fn next(&mut self, out: &mut Vec<u8>) {
        self.0.next(out);
    }
}

/// Messages on topics that are nothing of the device's.
#[derive(Debug, Default)]
struct OddTopics {
    messages: u64,
}

impl Flood for OddTopics {
    const BEGIN: Begin = Begin::Login;

    fn next(&mut self, out: &mut Vec<u8>) {
        self.messages += 1;
        let topic = format!("odd\u{1b}[2J{}/{}", "topic".repeat(50), self.messages);
        out.extend(packets::publish(&topic, b"x", 0, 0));
    }
}

/// Answers about the twin to questions that the client never asked.
#[derive(Debug, Default)]
struct UnaskedAnswers {
    answers: u64,
}

impl Flood for UnaskedAnswers {
    const BEGIN: Begin = Begin::Twins(2);

    fn next(&mut self, out: &mut Vec<u8>) {
        self.answers += 1;
        let topic = format!("$iothub/twin/res/200/?$rid={}-{}", self.answers % 60_000, self.answers);
        out.extend(packets::publish(&topic, b"{}", 0, 0));
    }
}

/// Acknowledgements of messages that were never sent.
#[derive(Debug, Default)]
struct UnaskedAcks {
    id: u16,
}

impl Flood for UnaskedAcks {
    const BEGIN: Begin = Begin::Twins(2);

    fn next(&mut self, out: &mut Vec<u8>) {
        self.id = self.id.checked_add(1).unwrap_or(1);
        out.extend(packets::puback(self.id));
    }
}

/// Changes of desired properties that are not JSON.
#[derive(Debug, Default)]
struct UnreadableChanges;

impl Flood for UnreadableChanges {
    const BEGIN: Begin = Begin::Twins(2);

    fn next(&mut self, out: &mut Vec<u8>) {
        out.extend(packets::publish("$iothub/twin/PATCH/properties/desired/?$version=2", b"{\"unreadable", 0, 0));
    }
}

/// The first ones are there, cut and without what a terminal could take for a command, and the count.
fn says(run: &Run, warning: &str) {
    assert!(run.log.iter().filter(|it| it.contains(warning)).count() >= 2, "{run:?}");
    assert!(!run.log.iter().any(|it| it.contains('\u{1b}')), "{run:?}");
    let all: usize = run.log.iter().map(|it| it.len() + 1).sum();
    assert_eq!(all as u64, run.logged, "there are no long lines: {run:?}");
    let suppressed = run.log.iter().rfind(|it| it.contains("suppressed ") && it.contains(" more of this kind: "));
    let count = suppressed.and_then(|it| it.split("suppressed ").nth(1)?.split(' ').next());
    let count: Option<u64> = count.and_then(|it| it.replace(',', "").parse().ok());
    assert!(count > Some(1000), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_calls_that_nobody_serves() {
    let run = withstands(&["c2d", "receive"], End::Interrupt, UnknownMethods::default).await;
    says(&run, "refused a method call");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_calls_that_a_device_answers() {
    withstands(&["run"], End::For, UnknownMethods::default).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_calls_whose_answers_nobody_reads() {
    withstands(&["run"], End::Interrupt, DeafCaller::default).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_topics_that_nobody_knows() {
    let run = withstands(&["c2d", "receive"], End::For, OddTopics::default).await;
    says(&run, "on a topic that");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_that_nobody_can_read() {
    let run = withstands(&["run"], End::Interrupt, || UnreadableChanges).await;
    says(&run, "cannot read a change of desired properties");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_answers_to_nobody() {
    for end in [End::For, End::Interrupt] {
        let run = withstands(&["run"], end, UnaskedAnswers::default).await;
        assert!(run.log.is_empty(), "{run:?}");
    }
    let run = withstands(&["run", "--interval", "50ms"], End::Interrupt, UnaskedAcks::default).await;
    assert!(run.log.is_empty(), "{run:?}");
}
