//! Readers that go away: no crash, no words, and an exit code that says so.

use hubward_tests::command::Invocation;

use super::cloud;
use super::running::Running;

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_early_ends_the_command_quietly() {
    let (_emulator, enrolled) = cloud().await;
    for output in ["json", "text"] {
        let arguments = ["provision", "--messages", "50", "--output", output];
        let mut running = Running::start(Invocation::hubward(arguments).vars(&enrolled.vars()));
        let _first = running.line().await.expect("a line");
        let (ended, stderr) = running.close_stdout().await;
        assert_eq!((ended.code(), stderr.as_str()), (Some(141), ""), "{output}");
    }
}
