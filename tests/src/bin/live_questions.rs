//! `cargo xtask live-questions`: twenty questions to a live service, compared with the emulator.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    hubward_tests::live_questions::main(std::env::args().skip(1)).await
}
