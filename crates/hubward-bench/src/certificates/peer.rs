//! A child process of the same program. It answers each line of JSON on its standard input with one line on its
//! standard output, and stops when its parent process stops.

use std::error::Error;
use std::io::{self, BufRead as _, Write as _};
use std::process::Stdio;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use crate::{cores, cpu, memory};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The task of a child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    Emulator,
    Devices,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Emulator => "emulator",
            Self::Devices => "devices",
        }
    }
}

/// Where the emulator listens.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Address {
    /// The port of MQTT on 127.0.0.1.
    pub(super) port: u16,
    /// The certificate authority of the emulator, as PEM.
    pub(super) ca: String,
}

/// The resources that a process has used so far. `None` if the system does not report it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Usage {
    /// Processor time, user and system.
    pub(super) cpu_micros: Option<f64>,
    /// Resident memory.
    pub(super) resident_kib: Option<u64>,
}

impl Usage {
    pub(super) fn now() -> Self {
        Self { cpu_micros: cpu::used().map(|it| it.as_secs_f64() * 1e6), resident_kib: memory::resident_kib() }
    }
}

/// A request that every child process answers with its [`Usage`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line<R> {
    Usage { usage: bool },
    Request(R),
}

/// A running child process. Dropping it ends the process.
pub(super) struct Peer {
    role: Role,
    stdin: ChildStdin,
    answers: BufReader<ChildStdout>,
    _child: Child,
}

impl Peer {
    /// Starts the process. If `core` is given, the process runs on that core.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(super) async fn start(role: Role, core: Option<usize>) -> Result<Self> {
        let core = core.map(|it| ["--core".to_owned(), it.to_string()]);
        let mut child = Command::new(std::env::current_exe()?)
            .args(["certificates-peer", "--role", role.name()])
            .args(core.iter().flatten())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().ok_or("the pipe to the process is missing")?;
        let answers = BufReader::new(child.stdout.take().ok_or("the pipe from the process is missing")?);
        Ok(Self { role, stdin, answers, _child: child })
    }

    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    /// The process has ended, or the request failed; the process has then printed the reason.
    pub(super) async fn ask<A: DeserializeOwned>(&mut self, request: &impl Serialize) -> Result<A> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        self.stdin.write_all(line.as_bytes()).await?;
        self.stdin.flush().await?;
        line.clear();
        self.answers.read_line(&mut line).await?;
        if line.is_empty() {
            return Err(format!("the process of the {} has ended", self.role.name()).into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    pub(super) async fn usage(&mut self) -> Result<Usage> {
        self.ask(&Line::<()>::Usage { usage: true }).await
    }
}

/// The requests that a child process reads. The process exits when standard input closes.
pub(super) struct Requests(mpsc::UnboundedReceiver<io::Result<String>>);

impl Requests {
    /// Starts to read. If `core` is given, the process runs on that core from now on.
    ///
    /// # Errors
    /// The process cannot run on this core.
    pub(super) fn read(core: Option<usize>) -> Result<Self> {
        if core.is_some_and(|it| !cores::pin_to(it)) {
            return Err("the process could not be pinned to the given core".into());
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                if sender.send(line).is_err() {
                    break;
                }
            }
            std::process::exit(0);
        });
        Ok(Self(receiver))
    }

    /// Waits for the next request. Answers requests for the [`Usage`] itself.
    ///
    /// # Errors
    /// The line is not a request.
    pub(super) async fn next<R: DeserializeOwned>(&mut self) -> Result<R> {
        loop {
            let line = self.0.recv().await.ok_or("no more requests")??;
            match serde_json::from_str(&line)? {
                Line::Usage { .. } => answer(&Usage::now())?,
                Line::Request(request) => return Ok(request),
            }
        }
    }
}

/// Writes the answer to a request.
///
/// # Errors
/// The parent process has ended.
pub(super) fn answer(answer: &impl Serialize) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
