//! Readers that go away: no crash, and the work is done all the same.

use hubward_tests::command::Invocation;

use super::cloud;
use super::running::Running;

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_early_ends_the_talking_not_the_work() {
    let (emulator, enrolled) = cloud().await;
    for output in ["json", "text"] {
        let arguments = ["provision", "--messages", "50", "--output", output];
        let mut running = Running::start(Invocation::hubward(arguments).vars(&enrolled.vars()));
        let _first = running.line().await.expect("a line");
        let (ended, stderr) = running.close_stdout().await;
        assert_eq!((ended.code(), stderr.as_str()), (Some(0), ""), "{output}");
    }
    assert_eq!(emulator.telemetry("localhost").expect("the hub").total(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_and_completions_do_not_mind_a_closed_pipe() {
    for arguments in [["--help"].as_slice(), &["--version"], &["completions", "bash"], &["quickstart", "--help"]] {
        let running = Running::start(Invocation::hubward(arguments.iter().copied()));
        let (ended, stderr) = running.close_stdout().await;
        assert_eq!((ended.code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
