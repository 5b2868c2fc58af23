//! `cargo xtask live-questions`: asks a live service twenty questions and compares its answers with the emulator's.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    hubward_tests::live_questions::main(std::env::args().skip(1)).await
}
