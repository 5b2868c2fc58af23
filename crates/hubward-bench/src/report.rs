//! Prints the results as a table or as JSON. For `--check`, also checks the results.

use std::fmt;

use serde_json::{Value, json};

use crate::cores::Cores;
use crate::measure::{Client, Load, PAYLOAD, Sample, median};
use crate::sink::Style;

/// The window that [`Report::check`] checks.
pub(crate) const CHECKED_WINDOW: usize = 100;

/// The minimum ratio to the bound's throughput at [`CHECKED_WINDOW`].
pub(crate) const MIN_RATIO: f64 = 0.5;

/// The results of all runs.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) rounds: u16,
    pub(crate) cores: Cores,
    pub(crate) rows: Vec<Row>,
}

/// The results of one client with one window and one sink. There is one sample per round.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) sink: Style,
    pub(crate) client: Client,
    pub(crate) load: Load,
    pub(crate) samples: Vec<Sample>,
}

impl Row {
    fn per_second(&self) -> Option<f64> {
        median(self.samples.iter().map(|it| it.per_second))
    }

    fn cpu_micros(&self) -> Option<f64> {
        median(self.samples.iter().filter_map(|it| it.cpu_micros))
    }
}

impl Report {
    /// Compares a row with the row of the bound. `of` selects a value of a sample, such as the throughput.
    ///
    /// Calculates the ratio to the bound for each round, and returns the median of these ratios.
    ///
    /// Returns `None` if the report has no row of the bound, or if the value is missing in every round.
    fn ratio(&self, row: &Row, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let same = |it: &&Row| it.client == Client::Bound && it.sink == row.sink && it.load.window == row.load.window;
        let bound = self.rows.iter().find(same)?;
        median(row.samples.iter().zip(&bound.samples).filter_map(|(sample, bound)| Some(of(sample)? / of(bound)?)))
    }

    fn throughput_ratio(&self, row: &Row) -> Option<f64> {
        self.ratio(row, |it| Some(it.per_second))
    }

    fn cpu_ratio(&self, row: &Row) -> Option<f64> {
        self.ratio(row, |it| it.cpu_micros)
    }

    /// Checks the throughput of hubward over MQTT with [`CHECKED_WINDOW`] messages in flight. With every sink, it must
    /// be at least [`MIN_RATIO`] of the throughput of the bound.
    ///
    /// # Errors
    /// Returns one sentence for each sink with which the ratio is below [`MIN_RATIO`]. If no run used
    /// [`CHECKED_WINDOW`], returns one sentence that says so.
    pub(crate) fn check(&self) -> Result<(), Vec<String>> {
        let checked: Vec<&Row> =
            self.rows.iter().filter(|it| it.client == Client::Mqtt && it.load.window == CHECKED_WINDOW).collect();
        if checked.is_empty() {
            return Err(vec![format!("nothing to check: mqtt was not measured with window {CHECKED_WINDOW}")]);
        }
        let mut problems = Vec::new();
        for row in checked {
            let ratio = self.throughput_ratio(row).unwrap_or_default();
            if ratio < MIN_RATIO {
                problems.push(format!(
                    "mqtt with window {CHECKED_WINDOW} reaches {ratio:.2} of the bound at the {} sink, \
                     expected at least {MIN_RATIO:.2}",
                    row.sink.name()
                ));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The results as one JSON object, with camelCase names.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let samples: Vec<Value> = row
                    .samples
                    .iter()
                    .map(|it| json!({ "messagesPerSecond": it.per_second, "cpuMicrosPerMessage": it.cpu_micros }))
                    .collect();
                json!({
                    "sink": row.sink.name(),
                    "window": row.load.window,
                    "client": row.client.name(),
                    "messages": row.load.messages,
                    "messagesPerSecond": row.per_second(),
                    "throughputToBound": self.throughput_ratio(row),
                    "cpuMicrosPerMessage": row.cpu_micros(),
                    "cpuToBound": self.cpu_ratio(row),
                    "samples": samples,
                })
            })
            .collect();
        json!({
            "version": 1,
            "bench": "telemetry",
            "qos": 1,
            "payloadBytes": PAYLOAD,
            "tls": "1.3",
            "optimised": !cfg!(debug_assertions),
            "cores": self.cores.name(),
            "rounds": self.rounds,
            "rows": rows,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "telemetry: QoS 1, {PAYLOAD}-byte payload, TLS 1.3 (rustls, ring) on loopback, TCP_NODELAY;")?;
        let place = match self.cores {
            Cores::Apart => "each on a separate core",
            Cores::Together => "both on one core",
            Cores::Any => "on any core that the system chooses",
        };
        writeln!(f, "client and sink are processes of one thread each, {place};")?;
        writeln!(f, "cpu is the client's, user and system, in microseconds per message;")?;
        writeln!(
            f,
            "figures are medians of {} rounds, clients in turn; ratios are to the bound of the same round.",
            self.rounds
        )?;
        if cfg!(debug_assertions) {
            writeln!(f, "Built without optimisation: these figures are meaningless.")?;
        }
        let mut group = None;
        for row in &self.rows {
            if group.replace(row.sink) != Some(row.sink) {
                writeln!(f)?;
                writeln!(
                    f,
                    "{:<12} {:>6}  {:<8} {:>10} {:>6} {:>9} {:>6}",
                    "sink", "window", "client", "msg/s", "ratio", "cpu", "ratio"
                )?;
            }
            writeln!(
                f,
                "{:<12} {:>6}  {:<8} {:>10} {:>6} {:>9} {:>6}",
                row.sink.name(),
                row.load.window,
                row.client.name(),
                Cell(row.per_second(), 0),
                Cell(self.throughput_ratio(row), 2),
                Cell(row.cpu_micros(), 2),
                Cell(self.cpu_ratio(row), 2),
            )?;
        }
        Ok(())
    }
}

/// A number with the given number of decimals, or a dash.
pub(crate) struct Cell(pub(crate) Option<f64>, pub(crate) usize);

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => f.pad(&format!("{value:.*}", self.1)),
            None => f.pad("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn row(sink: Style, client: Client, per_second: &[f64]) -> Row {
        let load = Load { payload: Bytes::new(), window: CHECKED_WINDOW, messages: 10 };
        let sample = |it: &f64| Sample { per_second: *it, cpu_micros: Some(1e6 / it) };
        Row { sink, client, load, samples: per_second.iter().map(sample).collect() }
    }

    fn report(broker_like: &[f64]) -> Report {
        Report {
            rounds: 3,
            cores: Cores::Any,
            rows: vec![
                row(Style::Bulk, Client::Bound, &[1000.0, 100.0, 1000.0]),
                row(Style::Bulk, Client::Mqtt, &[800.0, 90.0, 700.0]),
                row(Style::BrokerLike, Client::Bound, &[1000.0, 1000.0, 1000.0]),
                row(Style::BrokerLike, Client::Mqtt, broker_like),
            ],
        }
    }

    #[test]
    fn rows_show_medians_and_ratios_of_the_same_round() {
        let text = report(&[500.0, 500.0, 500.0]).to_string();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|it| it.split_whitespace().collect())
            .filter(|it: &Vec<&str>| it.get(1) == Some(&"100"))
            .collect();
        assert_eq!(
            rows,
            [
                ["bulk", "100", "bound", "1000", "1.00", "1000.00", "1.00"],
                ["bulk", "100", "mqtt", "700", "0.80", "1428.57", "1.25"],
                ["broker-like", "100", "bound", "1000", "1.00", "1000.00", "1.00"],
                ["broker-like", "100", "mqtt", "500", "0.50", "2000.00", "2.00"],
            ]
        );
    }

    #[test]
    fn json_contains_the_same_results() {
        let json = report(&[500.0; 3]).json();
        assert_eq!(json["rows"][1]["client"], "mqtt");
        assert_eq!(json["rows"][1]["messagesPerSecond"], 700.0);
        assert_eq!(json["rows"][1]["throughputToBound"], 0.8);
        assert_eq!(json["rows"][1]["samples"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn check_passes_at_half_the_bound_and_fails_below() {
        assert_eq!(report(&[500.0; 3]).check(), Ok(()));
        let problems = report(&[499.0, 499.0, 900.0]).check().expect_err("below half");
        assert_eq!(
            problems,
            ["mqtt with window 100 reaches 0.50 of the bound at the broker-like sink, expected at least 0.50"]
        );
        let nothing = Report { rounds: 1, cores: Cores::Any, rows: Vec::new() };
        assert!(nothing.check().is_err(), "a check without measurements must fail");
    }
}
