//! Tests in which the reader of the output closes the pipe. `provision` must end with the exit code for a closed pipe.
//! It must not print a message or crash. `hubward emulator` must keep running.

use hubward_tests::command::{Invocation, without_rule_notes};

use super::cloud;
use super::emulator::folder;
use super::running::Running;

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_closes_early_ends_the_command_without_a_message() {
    let (_emulator, enrolled) = cloud().await;
    for output in ["json", "text"] {
        let arguments = ["provision", "--messages", "50", "--output", output];
        let mut running = Running::start(Invocation::hubward(arguments).vars(&enrolled.vars()));
        let _first = running.line().await.expect("a line");
        let (ended, stderr) = running.close_stdout().await;
        assert_eq!((ended.code(), without_rule_notes(&stderr).as_str()), (Some(141), ""), "{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emulator_keeps_running_after_its_reader_has_closed() {
    let (_kept, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let ready = running.json().await;
    running.stop_reading();
    let admin = ready["admin"].as_str().expect("a URL");
    let status = Invocation::hubward(["emulator", "status", "--admin", admin]).run().await;
    assert_eq!(status.code, Some(0), "{}", status.stderr_text());
    let (ended, _, stderr) = running.interrupt().await;
    assert_eq!((ended.code(), stderr.as_str()), (Some(0), ""));
}
