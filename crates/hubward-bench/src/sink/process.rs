//! Runs the sink as a child process of the same program. The sink stops when its parent process stops.

use std::io::{self, Read, Write};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::{Style, serve};
use crate::cores;

/// A running sink. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct SinkProcess {
    /// The sink's port on 127.0.0.1.
    pub(crate) port: u16,
    /// The sink's self-signed certificate (PEM) for [`HOST`](super::HOST).
    pub(crate) certificate: String,
    _child: Child,
    // The operating system closes this pipe when this process ends for any reason. The sink exits when the pipe closes.
    _stdin: ChildStdin,
}

impl SinkProcess {
    /// Starts this program again as a sink, and waits until the sink listens. If `core` is given, the sink runs on
    /// that core.
    ///
    /// # Errors
    /// The program cannot be started, or exits before it listens.
    pub(crate) async fn start(style: Style, core: Option<usize>) -> io::Result<Self> {
        let core = core.map(|it| ["--core".to_owned(), it.to_string()]);
        let mut child = Command::new(std::env::current_exe()?)
            .args(["sink", "--style", style.name()])
            .args(core.iter().flatten())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let piped = || io::Error::other("the pipe to the sink is missing");
        let stdin = child.stdin.take().ok_or_else(piped)?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or_else(piped)?).read_line(&mut line).await?;
        let ready: Value = serde_json::from_str(&line).map_err(|_| io::Error::other("the sink did not start"))?;
        let port = ready["port"].as_u64().and_then(|it| u16::try_from(it).ok());
        let certificate = ready["certificate"].as_str();
        match (port, certificate) {
            (Some(port), Some(certificate)) => {
                Ok(Self { port, certificate: certificate.to_owned(), _child: child, _stdin: stdin })
            }
            _ => Err(io::Error::other("the sink did not print its port and certificate")),
        }
    }
}

/// Runs as the child process. Prints the port and the certificate, then serves. Exits when standard input closes.
///
/// # Errors
/// As for [`serve`].
pub(crate) async fn run(style: Style, core: Option<usize>) -> io::Result<()> {
    if core.is_some_and(|it| !cores::pin_to(it)) {
        return Err(io::Error::other("the sink could not be pinned to the given core"));
    }
    std::thread::spawn(|| {
        let end = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(i32::from(end.is_err()));
    });
    serve(style, |port, certificate| {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", json!({ "port": port, "certificate": certificate }))?;
        out.flush()
    })
    .await
}
