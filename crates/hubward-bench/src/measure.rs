//! Measures one run of one client. The run starts with a warm-up. After the warm-up, the code measures the time and the
//! processor time until the given number of messages is acknowledged.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::cpu;

/// Payload length in bytes.
pub(crate) const PAYLOAD: usize = 256;

/// A measured client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Client {
    /// Hand-written frames; counts acknowledgements only.
    #[value(skip)]
    Bound,
    /// hubward over MQTT.
    Mqtt,
    /// hubward over MQTT in WebSocket frames.
    MqttWs,
}

impl Client {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Mqtt => "mqtt",
            Self::MqttWs => "mqtt-ws",
        }
    }
}

/// The work of one run, the same for every client.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// The body of every message.
    pub(crate) payload: Bytes,
    /// The number of messages in flight.
    pub(crate) window: usize,
    /// The number of measured messages.
    pub(crate) messages: usize,
}

impl Load {
    /// Number of messages to send before the measurement starts. They fill the window twice and warm the caches.
    pub(crate) const fn warm_up(&self) -> usize {
        2 * self.window + self.messages / 20
    }
}

/// The result of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Acknowledged messages per second.
    pub(crate) per_second: f64,
    /// Processor time of this process per message, in microseconds. `None` if the operating system does not report
    /// it.
    pub(crate) cpu_micros: Option<f64>,
}

/// A running measurement.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    started: Instant,
    cpu: Option<Duration>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { cpu: cpu::used(), started: Instant::now() }
    }

    pub(crate) fn stop(self, messages: usize) -> Sample {
        let elapsed = self.started.elapsed();
        let cpu = cpu::used().zip(self.cpu).map(|(now, before)| now.saturating_sub(before));
        Sample::new(messages, elapsed, cpu)
    }
}

impl Sample {
    fn new(messages: usize, elapsed: Duration, cpu: Option<Duration>) -> Self {
        let messages = messages as f64;
        Self {
            per_second: messages / elapsed.as_secs_f64(),
            cpu_micros: cpu.map(|it| it.as_secs_f64() * 1e6 / messages),
        }
    }
}

/// The median of `values`; `None` if there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value() {
        for (values, expected) in
            [(&[][..], None), (&[3.0], Some(3.0)), (&[9.0, 1.0], Some(5.0)), (&[9.0, 1.0, 2.0], Some(2.0))]
        {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
    }

    #[test]
    fn a_sample_is_per_second_and_per_message() {
        let sample = Sample::new(1000, Duration::from_millis(500), Some(Duration::from_millis(2)));
        assert_eq!(sample, Sample { per_second: 2000.0, cpu_micros: Some(2.0) });
    }

    #[cfg(unix)]
    #[test]
    fn processor_time_goes_forward() {
        let before = cpu::used().expect("a clock");
        let mut value = 1u64;
        while cpu::used().expect("a clock") == before {
            value = std::hint::black_box(value.wrapping_mul(3));
        }
        assert!(cpu::used() > Some(before));
    }
}
