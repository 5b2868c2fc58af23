//! A terminal for the output of a program.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::thread::JoinHandle;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Opens a pseudoterminal. Returns two ends: the one that a program uses as its terminal, and the one where the test
/// reads the output of the program.
pub(super) fn open() -> (File, OwnedFd) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("the terminal's owner");
    let name = ptsname(&terminal, Vec::new()).expect("a name").into_string().expect("text");
    let no_controlling_terminal = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
    let mut options = File::options();
    let end = options.read(true).write(true).custom_flags(no_controlling_terminal).open(name);
    (end.expect("the end for the program"), terminal)
}

/// Starts a thread that reads everything that a program writes to its terminal. The thread ends when all programs have
/// closed the terminal. A terminal changes each line end `\n` to `\r\n`; the returned text has `\n`, as the program
/// wrote it.
pub(super) fn read(other_end: OwnedFd) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut file, mut bytes) = (File::from(other_end), Vec::new());
        // On Linux, the last read fails, because no program has the terminal open any more.
        let _ = file.read_to_end(&mut bytes);
        String::from_utf8(bytes).expect("text").replace("\r\n", "\n")
    })
}
