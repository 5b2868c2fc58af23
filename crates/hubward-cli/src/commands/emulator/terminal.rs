//! Prints the events of the emulator on stderr: a line for each registration, connection and refusal.
//!
//! The lines go to stderr, because they are for people. Stdout is for scripts: it contains only the lines that the
//! emulator prints at its start.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use hubward_emulator::{Event, EventKind, EventLog, EventReader};
use tokio::time::{Instant, sleep_until};

use super::event_line::{event_line, name};
use crate::output::Writer;

/// The kinds of events that the terminal shows. `hubward emulator events` shows all kinds.
const SHOWN: &[EventKind] = &[
    EventKind::Registered,
    EventKind::RegistrationFailed,
    EventKind::Refused,
    EventKind::HandshakeFailed,
    EventKind::Connected,
    EventKind::Disconnected,
    EventKind::FaultHappened,
];

/// Maximum number of lines for each kind of event per [`PERIOD`]. A client that tries again and again cannot flood the
/// terminal.
const LINES_MAX: u32 = 50;

/// Length of a period.
const PERIOD: Duration = Duration::from_secs(60);

/// The bytes of the time of day, such as `03:04:05`, in the time of an event.
const TIME_OF_DAY: std::ops::Range<usize> = "2024-01-02T".len().."2024-01-02T03:04:05".len();

/// Shows the events of an emulator.
///
/// A line has at most 1.5 KB, because the journal shortens the texts of an event. If the reader of stderr stops
/// reading, the writer drops lines and counts them. If stderr is closed, no line is printed. In both cases, the
/// emulator continues.
pub(super) struct Terminal {
    log: EventLog,
    reader: EventReader,
    /// Number of the next event.
    next: u64,
    /// Number of dropped events that a printed line has already reported. The journal has dropped these events before
    /// they were shown.
    skipped: u64,
    limits: BTreeMap<EventKind, Limit>,
    stderr: Writer,
}

/// Counts the lines of one kind of event.
#[derive(Debug, Default)]
struct Limit {
    /// Start of the current period. `None` before the first line.
    began: Option<Instant>,
    printed: u32,
    suppressed: u64,
}

impl Terminal {
    pub(super) fn new(log: EventLog, stderr: &Writer) -> Self {
        let reader = log.subscribe(0);
        Self { log, reader, next: 0, skipped: 0, limits: BTreeMap::new(), stderr: stderr.clone() }
    }

    /// Shows events until the future is dropped.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: [`finish`](Self::finish) shows the rest.
    pub(super) async fn run(&mut self) -> Infallible {
        loop {
            let due = self.limits.values().filter_map(Limit::due).min();
            tokio::select! {
                event = self.reader.next() => {
                    self.print_skipped();
                    self.show(&event, Instant::now());
                }
                () = until(due) => self.report(|it| it.due().is_some_and(|due| due <= Instant::now())),
            }
        }
    }

    /// Prints the events that [`run`](Self::run) has not printed yet. Then prints how many lines were suppressed.
    pub(super) fn finish(mut self) {
        for event in self.log.from(self.next) {
            self.show(&event, Instant::now());
        }
        self.report(|_| true);
    }

    fn show(&mut self, event: &Event, now: Instant) {
        self.next = event.seq + 1;
        if !SHOWN.contains(&event.kind) {
            return;
        }
        let (suppressed, is_admitted) = self.limits.entry(event.kind).or_default().admit(now);
        self.print_suppressed(event.kind, suppressed);
        if is_admitted {
            let time = event.time.get(TIME_OF_DAY).unwrap_or_default();
            self.print(&event_line(&format!("{time}Z"), event));
        }
    }

    /// Prints how many lines of an event kind were suppressed, for each kind that `is_due` selects. Then counts this
    /// kind from zero again.
    fn report(&mut self, is_due: impl Fn(&Limit) -> bool) {
        let due: Vec<EventKind> = self.limits.iter().filter(|(_, it)| is_due(it)).map(|(kind, _)| *kind).collect();
        for kind in due {
            let suppressed = self.limits.remove(&kind).map_or(0, |it| it.suppressed);
            self.print_suppressed(kind, suppressed);
        }
    }

    fn print_suppressed(&self, kind: EventKind, suppressed: u64) {
        if suppressed > 0 {
            let kind = name(kind);
            self.print(&format!(
                "suppressed {suppressed} more lines of this kind; show them: hubward emulator events --kind {kind}"
            ));
        }
    }

    fn print_skipped(&mut self) {
        let skipped = self.reader.skipped() - self.skipped;
        if skipped > 0 {
            self.print(&format!("the journal dropped {skipped} events before they were shown"));
            self.skipped += skipped;
        }
    }

    fn print(&self, line: &str) {
        self.stderr.offer(format!("{line}\n").as_bytes());
    }
}

impl Limit {
    /// Counts an event that occurs at `now`.
    ///
    /// Returns two values. The first is the number of lines that were suppressed in the previous period. The caller
    /// must print this number first. The second is `true` if the caller must then print the event.
    fn admit(&mut self, now: Instant) -> (u64, bool) {
        let mut before = 0;
        if self.began.is_none_or(|it| now.saturating_duration_since(it) >= PERIOD) {
            before = std::mem::take(self).suppressed;
            self.began = Some(now);
        }
        if self.printed < LINES_MAX {
            self.printed += 1;
            return (before, true);
        }
        self.suppressed += 1;
        (before, false)
    }

    /// Returns the time at which the number of suppressed lines must be printed. Returns `None` if no line was
    /// suppressed.
    fn due(&self) -> Option<Instant> {
        self.began.filter(|_| self.suppressed > 0).map(|it| it + PERIOD)
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A stderr that the test reads.
    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Screen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
        }
    }

    async fn terminal() -> (hubward_emulator::Emulator, Terminal, Screen) {
        let emulator = hubward_emulator::Emulator::start().await.expect("started");
        let screen = Screen::default();
        let terminal = Terminal::new(emulator.events(), &Writer::start("test", screen.clone()));
        (emulator, terminal, screen)
    }

    fn refused(seq: u64, id: &str) -> Event {
        let event = serde_json::json!({
            "seq": seq, "time": "2024-01-02T03:04:05.0000000Z", "kind": "refused", "source": "dps", "id": id,
            "code": 401_002, "message": "bad signature",
        });
        serde_json::from_value(event).expect("an event")
    }

    #[tokio::test]
    async fn a_flood_is_counted_and_other_kinds_are_still_shown() {
        let (_emulator, mut terminal, screen) = terminal().await;
        let began = Instant::now();
        for seq in 0..10_000 {
            terminal.show(&refused(seq, "dev\u{1b}[2J\r\n-1"), began);
        }
        let mut other = refused(10_000, "dev-2");
        (other.kind, other.code) = (EventKind::Connected, None);
        terminal.show(&other, began);
        other.kind = EventKind::TwinReported;
        terminal.show(&other, began);
        terminal.show(&refused(10_001, "dev-3"), began + PERIOD);
        let stderr = terminal.stderr.clone();
        terminal.finish();
        stderr.written().await.expect("written");

        let text = screen.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), LINES_MAX as usize + 3, "{text}");
        assert!(lines.iter().all(|it| it.chars().all(|it| !it.is_control())), "{text:?}");
        assert_eq!(lines[0], "03:04:05Z dps refused dev [2J  -1: bad signature, 401002");
        assert_eq!(
            &lines[LINES_MAX as usize..],
            [
                "03:04:05Z dps connected dev-2: bad signature",
                "suppressed 9950 more lines of this kind; show them: hubward emulator events --kind refused",
                "03:04:05Z dps refused dev-3: bad signature, 401002",
            ]
        );
    }

    #[test]
    fn the_number_of_suppressed_lines_is_due_at_the_end_of_the_period() {
        let (mut limit, began) = (Limit::default(), Instant::now());
        for _ in 0..LINES_MAX {
            assert_eq!(limit.admit(began), (0, true));
        }
        assert_eq!(limit.due(), None);
        assert_eq!(limit.admit(began + PERIOD / 2), (0, false));
        assert_eq!(limit.due(), Some(began + PERIOD));
        assert_eq!(limit.admit(began + PERIOD), (1, true));
        assert_eq!(limit.due(), None);
    }

    #[tokio::test]
    async fn the_rest_is_shown_at_the_end() {
        let (emulator, terminal, screen) = terminal().await;
        let stream = tokio::net::TcpStream::connect(emulator.mqtt_addr()).await.expect("connected");
        let mut stream = stream.into_std().expect("a socket");
        stream.set_nonblocking(false).expect("set");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
        emulator.events().wait_for(|it| it.kind == EventKind::HandshakeFailed).await;
        let stderr = terminal.stderr.clone();
        terminal.finish();
        stderr.written().await.expect("written");
        assert!(screen.text().contains("Z the emulator had a TLS handshake fail"), "{}", screen.text());
    }
}
