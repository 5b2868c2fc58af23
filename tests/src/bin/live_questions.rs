//! `cargo xtask live-questions`: asks a live service twenty questions, and compares the answers with those of the
//! emulator.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    hubward_tests::live_questions::main(std::env::args().skip(1)).await
}
