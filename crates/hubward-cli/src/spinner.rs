//! Shows on a terminal that the command is waiting. The spinner writes to stderr only, and never waits for the
//! terminal.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::output::{Output, Writer, visible};

/// A spinner; does nothing if stderr is not a terminal.
#[derive(Debug)]
pub(crate) struct Spinner(Option<ProgressBar>);

impl Spinner {
    pub(crate) fn start(output: &Output, text: &'static str) -> Self {
        if !output.is_text() || !io::stderr().is_terminal() {
            return Self(None);
        }
        let target = ProgressDrawTarget::term_like(Box::new(Terminal(output.stderr().clone())));
        let bar = ProgressBar::with_draw_target(None, target).with_message(text);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }

    pub(crate) fn say(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(visible(text));
        }
    }

    pub(crate) fn stop(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A terminal for indicatif that passes its output to the writer of stderr. The user can stop a terminal with Ctrl-S.
/// The writer then drops the output, so the command does not wait for the terminal.
///
/// indicatif, which draws the spinner, holds a lock while it draws. The command needs the same lock to stop the
/// spinner. If drawing waited for the terminal, the command would wait too.
#[derive(Debug)]
struct Terminal(Writer);

impl Terminal {
    fn offer(&self, text: &str) -> io::Result<()> {
        self.0.offer_frame(text.as_bytes());
        Ok(())
    }

    fn move_cursor(&self, count: usize, direction: char) -> io::Result<()> {
        if count > 0 { self.offer(&format!("\u{1b}[{count}{direction}")) } else { Ok(()) }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        80
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'A')
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'B')
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'C')
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.offer(&format!("{text}\r\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.offer(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.offer("\r\u{1b}[2K")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
