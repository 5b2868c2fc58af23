use serde_json::json;

use super::*;

const POLICY_FAILURES: u32 = 3;

/// A registration flow with a virtual clock.
struct Flow {
    now: Instant,
    flow: Registration,
}

impl Flow {
    fn new(deadline: Option<u64>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an arbitrary origin; the tests move on from it")]
        let now = Instant::now();
        let policy = RetryPolicy { max_failures: POLICY_FAILURES, ..RetryPolicy::default() };
        Self { now, flow: Registration::new(policy, deadline.map(|it| now + Duration::from_secs(it))) }
    }

    fn step(&mut self) -> Step {
        self.flow.step(self.now)
    }

    fn answer(&mut self, body: serde_json::Value, retry_after: Option<u64>) {
        self.reply(body, retry_after, None);
    }

    fn reply(&mut self, body: serde_json::Value, retry_after: Option<u64>, status: Option<u16>) {
        let operation = serde_json::from_value(body).expect("an operation");
        let mut reply = DpsReply::new(DpsBody::Operation(Box::new(operation)), retry_after.map(Duration::from_secs));
        reply.status = status;
        self.flow.on_reply(self.now, 1.0, Ok(&reply));
    }

    fn fail(&mut self, kind: FailureKind, retry_after: Option<u64>) {
        self.flow.on_reply(self.now, 1.0, Err(Failure::new(kind, retry_after.map(Duration::from_secs))));
    }

    /// Takes the next step, which must be a wait. Advances the clock by this wait, and returns the wait in seconds.
    fn wait(&mut self) -> u64 {
        let Step::WaitUntil(moment) = self.step() else { panic!("expected a wait, got {:?}", self.step()) };
        let waited = moment - self.now;
        self.now = moment;
        waited.as_secs()
    }
}

fn assigning() -> serde_json::Value {
    json!({"operationId": "4.op", "status": "assigning"})
}

fn poll() -> Step {
    Step::Poll(OperationId::new("4.op").expect("id"))
}

#[test]
fn registers_polls_and_is_assigned() {
    let mut it = Flow::new(None);
    assert_eq!(it.step(), Step::Register);
    it.answer(assigning(), Some(3));
    assert_eq!(it.wait(), 3);
    assert_eq!(it.step(), poll());
    // The answer to a poll may lack the operation id.
    it.answer(json!({"status": "assigning"}), None);
    assert_eq!(it.wait(), 2);
    assert_eq!(it.step(), poll());
    it.answer(
        json!({"operationId": "4.op", "status": "assigned", "registrationState":
            {"assignedHub": "hub.example", "deviceId": "dev", "substatus": "initialAssignment", "payload": {"a": 1}}}),
        None,
    );
    let Step::End(RegistrationEnd::Assigned(assignment)) = it.step() else { panic!("{:?}", it.step()) };
    assert_eq!((assignment.hub.as_str(), assignment.device_id.as_str()), ("hub.example", "dev"));
    assert_eq!(assignment.state.payload, Some(json!({"a": 1})));
}

#[test]
fn an_unknown_status_ends_the_flow_if_the_service_has_ended_the_operation() {
    for polled in [false, true] {
        for (status, goes_on) in [(Some(202), true), (None, true), (Some(200), false), (Some(201), false)] {
            let mut it = Flow::new(None);
            if polled {
                it.reply(assigning(), Some(0), Some(202));
                assert_eq!(it.step(), poll());
            }
            let word = format!("thinking\u{202e}{}", "x".repeat(5000));
            it.reply(json!({"operationId": "4.op", "status": word}), Some(7), status);
            if goes_on {
                assert_eq!(it.wait(), 7);
                assert_eq!(it.step(), poll());
                continue;
            }
            let Step::End(RegistrationEnd::Broken(ProtoError::UnknownStatus(shown))) = it.step() else {
                panic!("{status:?}: {:?}", it.step())
            };
            assert!(shown.starts_with("thinking\\u{202e}xxx") && shown.ends_with("x… (5011 bytes)"), "{shown}");
        }
    }
    // The status `assigning` has the same meaning with HTTP status 200.
    let mut it = Flow::new(None);
    it.reply(assigning(), Some(7), Some(200));
    assert_eq!(it.wait(), 7);
}

#[test]
fn a_retry_after_of_zero_polls_at_once() {
    let mut it = Flow::new(None);
    it.answer(assigning(), Some(0));
    assert_eq!(it.step(), poll());
}

#[test]
fn a_lost_connection_while_assigning_resumes_the_operation() {
    let mut it = Flow::new(None);
    it.answer(assigning(), Some(0));
    it.fail(FailureKind::Network, None);
    it.wait();
    assert_eq!(it.step(), poll());
    // If the service does not know the operation, the device registers again.
    it.fail(FailureKind::OperationUnknown, None);
    it.wait();
    assert_eq!(it.step(), Step::Register);
}

#[test]
fn waits_as_long_as_asked_and_five_seconds_after_a_server_error() {
    for (kind, retry_after, least) in [
        (FailureKind::Throttled, Some(7), 7),
        (FailureKind::Throttled, None, 5),
        (FailureKind::Server, None, 5),
        (FailureKind::Server, Some(9), 9),
        (FailureKind::Network, None, 0),
    ] {
        let mut it = Flow::new(None);
        it.fail(kind, retry_after);
        let waited = it.wait();
        assert!((least..=least + 1).contains(&waited), "{kind:?} {retry_after:?}: {waited}");
        assert_eq!(it.step(), Step::Register);
    }
}

#[test]
fn gives_up_after_too_many_consecutive_failures() {
    let mut it = Flow::new(None);
    for _ in 0..2 {
        for _ in 0..POLICY_FAILURES {
            it.fail(FailureKind::Network, None);
            it.wait();
        }
        it.answer(assigning(), Some(0)); // a successful answer resets the count
    }
    for _ in 0..POLICY_FAILURES {
        it.fail(FailureKind::Network, None);
        it.wait();
    }
    it.fail(FailureKind::Network, None);
    let end = RegistrationEnd::GaveUp { failures: POLICY_FAILURES + 1, out_of_time: false };
    assert_eq!(it.step(), Step::End(end));
}

#[test]
fn a_final_failure_ends_the_flow_at_once() {
    let mut it = Flow::new(None);
    it.fail(FailureKind::Final, Some(1));
    assert_eq!(it.step(), Step::End(RegistrationEnd::GaveUp { failures: 1, out_of_time: false }));
}

#[test]
fn the_flow_ends_at_the_deadline_and_not_later() {
    let mut it = Flow::new(Some(10));
    it.answer(assigning(), Some(4));
    it.wait();
    it.answer(assigning(), Some(6)); // the next poll would be due at the deadline
    assert_eq!(it.step(), Step::End(RegistrationEnd::Deadline));

    let mut it = Flow::new(Some(10));
    it.now += Duration::from_secs(10);
    assert_eq!(it.step(), Step::End(RegistrationEnd::Deadline));

    let mut it = Flow::new(Some(10));
    it.fail(FailureKind::Throttled, Some(60));
    assert_eq!(it.step(), Step::End(RegistrationEnd::GaveUp { failures: 1, out_of_time: true }));
}

#[test]
fn keeps_the_error_of_a_failed_registration() {
    let mut it = Flow::new(None);
    it.answer(
        json!({"operationId": "4.op", "status": "failed", "registrationState":
            {"status": "failed", "errorCode": 400_207, "errorMessage": "Custom allocation failed"}}),
        None,
    );
    let Step::End(RegistrationEnd::Rejected { status, state }) = it.step() else { panic!("{:?}", it.step()) };
    assert_eq!(status, AssignmentStatus::Failed);
    assert_eq!(state.error_code, Some(400_207));

    // An answer with `disabled` has an empty operation id.
    let mut it = Flow::new(None);
    it.answer(json!({"operationId": "", "status": "disabled", "registrationState": {"status": "disabled"}}), None);
    let Step::End(RegistrationEnd::Rejected { status, .. }) = it.step() else { panic!("{:?}", it.step()) };
    assert_eq!(status, AssignmentStatus::Disabled);
}

#[test]
fn the_error_names_the_missing_member_of_an_answer() {
    for (body, expected) in [
        (json!({"status": "assigning"}), "the answer lacks `operationId`"),
        (json!({"status": "assigned"}), "the answer lacks `registrationState`"),
        (json!({"status": "assigned", "registrationState": {"deviceId": "d"}}), "the answer lacks `assignedHub`"),
        (json!({"status": "assigned", "registrationState": {"assignedHub": "h"}}), "the answer lacks `deviceId`"),
    ] {
        let mut it = Flow::new(None);
        it.answer(body, None);
        let Step::End(RegistrationEnd::Broken(problem)) = it.step() else { panic!("{:?}", it.step()) };
        assert_eq!(problem.to_string(), expected);
    }
}

#[test]
fn refuses_an_unknown_connection_profile() {
    let refused = |name: &str| Some(ProtoError::ConnectionProfile(name.to_owned()));
    let long = "x".repeat(10_000);
    for (profile, problem) in [
        (None, None),
        (Some(json!(null)), None),
        (Some(json!("classic")), None),
        (Some(json!("mqttV5")), refused("mqttV5")),
        (Some(json!("Classic")), refused("Classic")),
        (Some(json!("new\u{1b}[2J")), refused("new\\u{1b}[2J")),
        (Some(json!("")), refused("")),
        (Some(json!(long)), refused(&Excerpt(&long).to_string())),
    ] {
        let mut state = json!({"assignedHub": "h", "deviceId": "d"});
        if let Some(profile) = &profile {
            state["connectionProfile"] = profile.clone();
        }
        let mut it = Flow::new(None);
        it.answer(json!({"status": "assigned", "registrationState": state}), None);
        let found = match it.step() {
            Step::End(RegistrationEnd::Assigned(_)) => None,
            Step::End(RegistrationEnd::Broken(problem)) => Some(problem),
            other => panic!("{profile:?}: {other:?}"),
        };
        assert_eq!(found, problem, "{profile:?}");
    }
}

#[test]
fn resumes_without_registering() {
    let mut it = Flow::new(None);
    it.flow = it.flow.resume(OperationId::new("4.op").expect("id"));
    assert_eq!(it.step(), poll());
}

#[test]
fn answers_after_the_end_are_ignored() {
    let mut it = Flow::new(None);
    it.fail(FailureKind::Final, None);
    let end = it.step();
    it.answer(assigning(), Some(0));
    it.fail(FailureKind::Network, None);
    assert_eq!(it.step(), end);
}

#[test]
fn gives_up_if_the_service_never_knows_the_operation() {
    let mut it = Flow::new(None);
    for _ in 0..REREGISTRATIONS_MAX {
        assert_eq!(it.step(), Step::Register);
        it.answer(assigning(), Some(0));
        it.fail(FailureKind::OperationUnknown, None);
        it.wait();
    }
    it.answer(assigning(), Some(0));
    it.fail(FailureKind::OperationUnknown, None);
    assert_eq!(it.step(), Step::End(RegistrationEnd::GaveUp { failures: 1, out_of_time: false }));
}

#[test]
fn a_login_that_is_refused_as_unavailable_is_repeated_twice() {
    let mut it = Flow::new(None);
    for _ in 1..UNAVAILABLE_MAX {
        it.fail(FailureKind::Unavailable, None);
        let Step::WaitUntil(next) = it.step() else { panic!("it tries again") };
        assert!(next >= it.now + limits::SERVER_ERROR_WAIT);
        it.wait();
    }
    it.fail(FailureKind::Unavailable, None);
    assert_eq!(it.step(), Step::End(RegistrationEnd::GaveUp { failures: 3, out_of_time: false }));
    // A failure of another kind resets the count of `Unavailable` failures.
    let mut it = Flow::new(None);
    for kind in [FailureKind::Unavailable, FailureKind::Network, FailureKind::Unavailable] {
        it.fail(kind, None);
        it.wait();
    }
}

#[test]
fn polls_do_not_become_a_tight_loop() {
    let mut it = Flow::new(None);
    it.answer(assigning(), Some(0));
    assert_eq!(it.step(), poll());
    it.answer(assigning(), Some(0));
    assert_eq!(it.step(), Step::WaitUntil(it.now + limits::POLL_INTERVAL_MIN));
}

#[test]
fn a_connection_that_this_machine_refuses_is_repeated_twice_before_the_first_answer() {
    let mut it = Flow::new(None);
    for _ in 1..NOT_LISTENING_MAX {
        it.fail(FailureKind::NotListening, None);
        let Step::WaitUntil(next) = it.step() else { panic!("it tries again") };
        assert!(next <= it.now + NOT_LISTENING_WAIT);
        it.wait();
        assert_eq!(it.step(), Step::Register);
    }
    it.fail(FailureKind::NotListening, None);
    assert_eq!(it.step(), Step::End(RegistrationEnd::GaveUp { failures: NOT_LISTENING_MAX, out_of_time: false }));
    // After the first answer, the emulator may be restarting. So the flow retries as often as after any other network
    // failure.
    let mut it = Flow::new(None);
    it.answer(assigning(), None);
    it.wait();
    for _ in 0..POLICY_FAILURES {
        it.fail(FailureKind::NotListening, None);
        it.wait();
        assert_eq!(it.step(), poll());
    }
    it.fail(FailureKind::NotListening, None);
    assert_eq!(it.step(), Step::End(RegistrationEnd::GaveUp { failures: POLICY_FAILURES + 1, out_of_time: false }));
}

#[test]
fn a_flow_with_one_registration_retries_polls_only() {
    let once = || {
        let mut it = Flow::new(None);
        it.flow.policy = it.flow.policy.clone().max_registrations(1);
        it
    };
    let gave_up = Step::End(RegistrationEnd::GaveUp { failures: 1, out_of_time: false });
    for kind in [FailureKind::Network, FailureKind::Throttled, FailureKind::Server, FailureKind::Unavailable] {
        let mut it = once();
        assert_eq!(it.step(), Step::Register);
        it.fail(kind, None);
        assert_eq!(it.step(), gave_up, "a failed registration is not repeated: {kind:?}");

        let mut it = once();
        assert_eq!(it.step(), Step::Register);
        it.answer(assigning(), None);
        it.wait();
        it.fail(kind, None);
        it.wait();
        assert_eq!(it.step(), poll(), "a failed poll is repeated: {kind:?}");
        it.fail(FailureKind::OperationUnknown, None);
        assert!(matches!(it.step(), Step::End(RegistrationEnd::GaveUp { .. })), "a lost operation: {kind:?}");
    }
    // A request that no program could receive does not count.
    let mut it = once();
    it.fail(FailureKind::NotListening, None);
    it.wait();
    assert_eq!(it.step(), Step::Register);
    // An operation of an earlier run does not count.
    let mut it = once();
    it.flow = it.flow.resume(OperationId::new("4.op").expect("id"));
    assert_eq!(it.step(), poll());
    it.fail(FailureKind::OperationUnknown, None);
    it.wait();
    assert_eq!(it.step(), Step::Register);
    it.fail(FailureKind::OperationUnknown, None);
    assert!(matches!(it.step(), Step::End(RegistrationEnd::GaveUp { .. })));
}
