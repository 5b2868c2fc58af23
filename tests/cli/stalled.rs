//! Tests with a reader that stops reading, such as a paused pager. Ctrl-C and `--for` must still end the command.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::OwnedFd;

use hubward_emulator::{CloudToDevice, Emulator, EventKind, Fault, Point};
use hubward_tests::command::Invocation;

use super::cloud;
use super::device::{HUB, device, known};
use super::running::{Running, finished, signal};
use super::terminal;

/// Starts an emulator with a device, and sends messages to the device. The messages are larger than the pipe and the
/// program's output queue together, so the program cannot print all of them before the test reads.
async fn flooded() -> (Emulator, Vec<(&'static str, String)>) {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    for _ in 0..50 {
        emulator.send_to_device(HUB, "dev-1", CloudToDevice::new("x".repeat(60_000))).expect("room in the queue");
    }
    (emulator, variables)
}

/// A pipe that accepts no further byte until the test reads from it.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    // The capacity of a pipe on Linux.
    writer.write_all(&[b'x'; 64 << 10]).expect("the pipe holds 64 KiB");
    (reader, writer)
}

fn waiting(emulator: &Emulator) -> usize {
    emulator.cloud_messages(HUB, "dev-1").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_command_whose_reader_does_not_read() {
    for name in ["-INT", "-TERM"] {
        for command in [["c2d", "receive"].as_slice(), &["run"]] {
            let (emulator, variables) = flooded().await;
            let (_reader, writer) = full_pipe();
            let child = device("mqtt", command, &variables).stdout(writer).spawn();
            // The command installs its signal handlers before it connects. Wait until the hub has delivered a message:
            // the command is then connected, so the test can send a signal.
            emulator.wait_until(|it| (it.cloud_messages(HUB, "dev-1")[0].delivery_count > 0).then_some(())).await;
            signal(&child, name).await;
            let ran = finished(child).await;
            assert_eq!(ran.code, Some(12), "{command:?} {name}: {}", ran.stderr_text());
            assert!(ran.stderr_text().contains("the reader of stdout does not read"), "{}", ran.stderr_text());
            assert_eq!(waiting(&emulator), 50, "no message is completed before it is printed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn for_ends_a_command_whose_reader_does_not_read() {
    let (emulator, variables) = flooded().await;
    let (_reader, writer) = full_pipe();
    let child = device("mqtt", &["c2d", "receive", "--for", "1s"], &variables).stdout(writer).spawn();
    let ran = finished(child).await;
    assert_eq!(ran.code, Some(12), "{}", ran.stderr_text());
    assert_eq!(waiting(&emulator), 50, "no message is completed before it is printed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_a_reader_does_not_delay_the_command() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    let (_reader, writer) = full_pipe();
    let arguments = ["send", "21.5", "--count", "3", "--log", "trace"];
    let ran = finished(device("mqtt", &arguments, &variables).stderr(writer).spawn()).await;
    assert_eq!(ran.last().expect("a result")["acknowledged"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_ctrl_c_ends_the_process_at_once() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    // The hub sends no acknowledgements. So after the first Ctrl-C, the command does not end at once: it waits for the
    // acknowledgements until its time limit for closing.
    emulator.fault_always(Point::HubPublish, Fault::HoldPuback).expect("a valid fault");
    let mut running = Running::start(device("mqtt", &["run", "--interval", "10ms"], &variables));
    running.json_until("sending").await;
    // The test sends signals until the command has ended, because the system may merge two signals into one.
    let ended = running.interrupt_until_ended().await;
    assert_eq!(ended.code(), Some(130));
}

/// Opens a terminal that accepts no output, like a terminal on which the user has typed Ctrl-S. Returns the end for the
/// program. Also returns the other end, which keeps the terminal open.
fn stopped_terminal() -> (File, OwnedFd) {
    let (end, terminal) = terminal::open();
    rustix::termios::tcflow(&end, rustix::termios::Action::OOff).expect("the output is suspended");
    (end, terminal)
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_command_whose_terminal_is_stopped() {
    for (arguments, code) in [(["provision"].as_slice(), 130), (&["device", "run"], 130)] {
        let (emulator, enrolled) = cloud().await;
        emulator.fault_always(Point::DpsRegister, Fault::Never).expect("a valid fault");
        let (terminal, _other_end) = stopped_terminal();
        let child = Invocation::hubward(arguments.iter().copied()).vars(&enrolled.vars()).stderr(terminal).spawn();
        // The command is now waiting for DPS, and tries to show its progress on the terminal.
        emulator.events().wait_for(|it| it.kind == EventKind::FaultHappened).await;
        signal(&child, "-INT").await;
        assert_eq!(finished(child).await.code, Some(code), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_command_with_unread_output() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    for number in 0..500 {
        emulator.add_device(HUB, &format!("dev-{number}")).expect("a valid id");
    }
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let admin = [("HUBWARD_EMULATOR_ADMIN", emulator.ready().admin)];
    let arguments = ["hub", "device-identity", "list", "--output", "json"];
    let child = Invocation::hubward(arguments).vars(&admin).stdout(writer).spawn();
    let mut first_bytes = [0; 10];
    reader.read_exact(&mut first_bytes).expect("output");
    signal(&child, "-INT").await;
    let ran = finished(child).await;
    assert_eq!(ran.code, Some(12), "{}", ran.stderr_text());
    assert!(ran.stderr_text().contains("the reader of stdout does not read"), "{}", ran.stderr_text());
}
