//! The hub sends packets that the client ignores. For some kinds of packets, the client logs a warning. The flood of
//! packets must not cause a flood of warnings.

use hubward_tests::packets;

use super::child::{End, Run, withstands};
use super::peer::{Flood, Start};

/// Sends calls of unknown methods with long names.
#[derive(Debug, Default)]
struct UnknownMethods {
    calls: u64,
}

impl Flood for UnknownMethods {
    const START: Start = Start::Login;

    fn next(&mut self, out: &mut Vec<u8>) {
        self.calls += 1;
        let topic = format!("$iothub/methods/POST/{}%1B%5B2J/?$rid={}", "unknown".repeat(40), self.calls);
        out.extend(packets::publish(&topic, b"{}", 0, 0));
    }
}

/// Sends calls of unknown methods, and stops reading.
#[derive(Debug, Default)]
struct UnreadAnswers(UnknownMethods);

impl Flood for UnreadAnswers {
    const START: Start = Start::TwinReads(2);
    const READS: bool = false;

    fn next(&mut self, out: &mut Vec<u8>) {
        self.0.next(out);
    }
}

/// Sends messages on topics that no hub uses.
#[derive(Debug, Default)]
struct UnknownTopics {
    messages: u64,
}

impl Flood for UnknownTopics {
    const START: Start = Start::Login;

    fn next(&mut self, out: &mut Vec<u8>) {
        self.messages += 1;
        let topic = format!("odd\u{1b}[2J{}/{}", "topic".repeat(50), self.messages);
        out.extend(packets::publish(&topic, b"x", 0, 0));
    }
}

/// Sends responses to twin requests that the client never sent.
#[derive(Debug, Default)]
struct UnexpectedResponses {
    responses: u64,
}

impl Flood for UnexpectedResponses {
    const START: Start = Start::TwinReads(2);

    fn next(&mut self, out: &mut Vec<u8>) {
        self.responses += 1;
        let topic = format!("$iothub/twin/res/200/?$rid={}-{}", self.responses % 60_000, self.responses);
        out.extend(packets::publish(&topic, b"{}", 0, 0));
    }
}

/// Acknowledges messages that the client never sent.
#[derive(Debug, Default)]
struct UnexpectedAcks {
    id: u16,
}

impl Flood for UnexpectedAcks {
    const START: Start = Start::TwinReads(2);

    fn next(&mut self, out: &mut Vec<u8>) {
        self.id = self.id.checked_add(1).unwrap_or(1);
        out.extend(packets::puback(self.id));
    }
}

/// Sends changes of the desired properties whose body is not JSON.
#[derive(Debug, Default)]
struct InvalidChanges;

impl Flood for InvalidChanges {
    const START: Start = Start::TwinReads(2);

    fn next(&mut self, out: &mut Vec<u8>) {
        out.extend(packets::publish("$iothub/twin/PATCH/properties/desired/?$version=2", b"{\"unreadable", 0, 0));
    }
}

/// Checks that the log contains the first warnings, and the number of warnings that the client left out. The warnings
/// must be short and must not contain control characters.
fn assert_warned(run: &Run, warning: &str) {
    assert!(run.log.iter().filter(|it| it.contains(warning)).count() >= 2, "{run:?}");
    assert!(!run.log.iter().any(|it| it.contains('\u{1b}')), "{run:?}");
    let all: usize = run.log.iter().map(|it| it.len() + 1).sum();
    assert_eq!(all as u64, run.logged, "the log must not contain long lines: {run:?}");
    let suppressed = run.log.iter().rfind(|it| it.contains("suppressed ") && it.contains(" more of this kind: "));
    let count = suppressed.and_then(|it| it.split("suppressed ").nth(1)?.split(' ').next());
    let count: Option<u64> = count.and_then(|it| it.replace(',', "").parse().ok());
    assert!(count > Some(1000), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_calls_without_a_method_handler() {
    let run = withstands(&["c2d", "receive"], End::Interrupt, UnknownMethods::default).await;
    assert_warned(&run, "refused a method call");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_calls_that_the_device_answers() {
    withstands(&["run"], End::For, UnknownMethods::default).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_calls_whose_answers_the_hub_does_not_read() {
    withstands(&["run"], End::Interrupt, UnreadAnswers::default).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_unknown_topics() {
    let run = withstands(&["c2d", "receive"], End::For, UnknownTopics::default).await;
    assert_warned(&run, "on a topic that");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_that_are_not_json() {
    let run = withstands(&["run"], End::Interrupt, || InvalidChanges).await;
    assert_warned(&run, "cannot read a change of desired properties");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_unexpected_responses_and_acknowledgements() {
    for end in [End::For, End::Interrupt] {
        let run = withstands(&["run"], end, UnexpectedResponses::default).await;
        assert!(run.log.is_empty(), "{run:?}");
    }
    let run = withstands(&["run", "--interval", "50ms"], End::Interrupt, UnexpectedAcks::default).await;
    assert!(run.log.is_empty(), "{run:?}");
}
