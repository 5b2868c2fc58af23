//! `hubward device method`: answers direct methods by running a program.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Args, Subcommand};
use hubward::error::Unsupported;
use hubward::{HubClient, MethodCall, MethodError, MethodResponse};
use tokio::time::Instant;

use super::EndArgs;
use super::connection::{ConnectionArgs, ended};
use super::exec::{CallResult, Program};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{DeviceEvent, Output};
use crate::stop::Stop;

/// How much longer the client's time limit for a call is than the time limit of the program.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum MethodCommand {
    /// Run a program for each call.
    Serve(Box<ServeArgs>),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward device method serve --exec ./reboot.sh --name reboot
  hubward device method serve --exec python3 -- answer.py

The program gets the name of the method as its last argument and in HUBWARD_METHOD, and the payload as
JSON on standard input. It writes its answer to standard output: JSON (at most 128 KB) or nothing. Exit
code 0 becomes status 200, any other exit code 500. A program that takes too long is killed, and the
caller gets 504. Methods that are not served get 404. The program shares the standard error of this
command.")]
pub(crate) struct ServeArgs {
    /// Path or name of the program.
    #[arg(long, value_name = "PROGRAM")]
    exec: PathBuf,
    /// Arguments of the program; the name of the method follows them.
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
    /// Method to serve; may be repeated [default: all methods]
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: Vec<String>,
    /// Time limit for each run of the program.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::duration::parse_positive)]
    call_timeout: Duration,
    #[command(flatten)]
    end: EndArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(args: &ServeArgs, output: &Output) -> Result<ExitCode, Failure> {
    let program = Program::find(&args.exec, &args.arguments, args.call_timeout)?;
    let mut connection = args.connection.read()?;
    // Give the client a longer limit for a call than the program. The program's limit then ends first, and the answer
    // to the call says that the program took too long.
    connection.options().method_deadline = args.call_timeout.saturating_add(GRACE);
    let mut stop = Stop::listen()?;
    let server = Arc::new(Server { program, output: output.clone(), calls: AtomicU64::new(0) });
    let (serving, names) = (Arc::clone(&server), args.name.clone());
    let serve_methods = move |hub: &HubClient| serve(&serving, &names, hub);
    let online = stop.or_interrupt(connection.open_serving(output, serve_methods)).await?;
    let since = Instant::now();
    tokio::select! {
        () = args.end.reached(since, &mut stop, output) => {}
        reason = online.client.closed() => return Err(online.failed(ended(reason))),
    }
    let calls = server.calls.load(Ordering::Relaxed);
    Ok(online.finish(&[("calls", calls)], output).await)
}

fn serve(server: &Arc<Server>, names: &[String], hub: &HubClient) -> Result<(), Unsupported> {
    let handler = |server: Arc<Server>| {
        move |call: MethodCall| {
            let server = server.clone();
            async move { server.answer(&call).await }
        }
    };
    if names.is_empty() {
        return hub.serve_methods(handler(server.clone()));
    }
    names.iter().collect::<BTreeSet<_>>().into_iter().try_for_each(|it| hub.serve_method(it, handler(server.clone())))
}

struct Server {
    program: Program,
    output: Output,
    calls: AtomicU64,
}

impl Server {
    async fn answer(&self, call: &MethodCall) -> Result<MethodResponse, MethodError> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let method = call.name();
        self.output.tell_device_event(&DeviceEvent::Call { number, method, payload: call.payload() }).await;
        let CallResult { status, body, problem } = self.program.call(method, call.payload()).await;
        let problem = problem.as_deref();
        self.output.tell_device_event(&DeviceEvent::Answer { number, method, status, payload: &body, problem }).await;
        Ok(MethodResponse::raw(status, body))
    }
}
