//! `telemetry`: plans the runs and measures them.
//!
//! Each round measures every client once. As a result, other load on the machine affects all clients alike.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use hubward_dial::Dialer;
use hubward_transport::TransportKind;

use crate::bound::Bound;
use crate::connector::Connector;
use crate::cores::{self, Cores};
use crate::hubward_client::HubwardClient;
use crate::measure::{Client, Load, PAYLOAD, Sample, Stopwatch};
use crate::report::{Report, Row};
use crate::sink::{SinkProcess, Style};

const DEVICE: &str = "bench-device";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Number of measurements of each client; figures are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,
    /// Messages per run [default: 20000 with one in flight, otherwise 400000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) messages: Option<u32>,
    /// Number of messages in flight
    #[arg(long = "window", value_name = "N", value_delimiter = ',', default_values_t = [1, 100, 1000],
          value_parser = clap::value_parser!(u16).range(1..=i64::from(hubward_hub::HubOptions::WINDOW_MAX)))]
    pub(crate) windows: Vec<u16>,
    /// How the sink acknowledges
    #[arg(long = "sink", value_enum, value_delimiter = ',', default_values_t = Style::ALL)]
    pub(crate) sinks: Vec<Style>,
    /// Transport of the hubward client
    #[arg(long = "transport", value_enum, value_delimiter = ',', default_values_t = [Client::Mqtt, Client::MqttWs])]
    pub(crate) transports: Vec<Client>,
    /// Processor cores of client and sink
    #[arg(long, value_enum, default_value_t = Cores::Apart)]
    pub(crate) cores: Cores,
}

/// Does all measurements. Calls `at_round` when a round begins.
///
/// # Errors
/// A sink does not start, or a message is not acknowledged.
pub(crate) async fn run(options: &Options, mut at_round: impl FnMut(u16)) -> Result<Report> {
    let sink_core = cores::pin_client(options.cores);
    let cores = if sink_core.is_some() { options.cores } else { Cores::Any };
    let mut sinks = Vec::new();
    for style in &options.sinks {
        let process = SinkProcess::start(*style, sink_core).await?;
        sinks.push((*style, Connector::new(&process)?, process));
    }
    let mut rows = plan(options);
    for round in 1..=options.rounds {
        at_round(round);
        for row in &mut rows {
            let Some((_, connector, _)) = sinks.iter().find(|(style, ..)| *style == row.sink) else { continue };
            let sample = measure(row.client, connector, &row.load).await.map_err(|error| {
                format!(
                    "{} with window {} at the {} sink: {error}",
                    row.client.name(),
                    row.load.window,
                    row.sink.name()
                )
            })?;
            row.samples.push(sample);
        }
    }
    Ok(Report { rounds: options.rounds, cores, rows })
}

/// Returns the rows of the table, in the order of measurement. For each sink and window, the first row is the bound.
/// The rows of the hubward clients follow.
fn plan(options: &Options) -> Vec<Row> {
    let payload: Bytes = (0..PAYLOAD).map(|it| b'a' + (it % 26) as u8).collect();
    let mut rows = Vec::new();
    for sink in &options.sinks {
        for window in &options.windows {
            let messages = options.messages.unwrap_or(if *window == 1 { 20_000 } else { 400_000 });
            let load = Load { payload: payload.clone(), window: (*window).into(), messages: messages as usize };
            for client in std::iter::once(Client::Bound).chain(options.transports.iter().copied()) {
                rows.push(Row { sink: *sink, client, load: load.clone(), samples: Vec::new() });
            }
        }
    }
    rows
}

/// Measures one run on a new connection. The time for connecting and for the warm-up does not count.
async fn measure(client: Client, connector: &Connector, load: &Load) -> Result<Sample> {
    match client {
        Client::Bound => measure_bound(connector, load).await,
        Client::Mqtt => measure_hubward(TransportKind::Mqtt, Arc::new(connector.dialer()?), connector, load).await,
        Client::MqttWs => {
            measure_hubward(TransportKind::MqttWs, Arc::new(connector.ws_dialer()?), connector, load).await
        }
    }
}

async fn measure_bound(connector: &Connector, load: &Load) -> Result<Sample> {
    let mut bound = Bound::login(connector.connect().await?, DEVICE, load).await?;
    bound.send(load.warm_up()).await?;
    let watch = Stopwatch::start();
    bound.send(load.messages).await?;
    let sample = watch.stop(load.messages);
    bound.close().await?;
    Ok(sample)
}

async fn measure_hubward(
    kind: TransportKind,
    dialer: Arc<dyn Dialer>,
    connector: &Connector,
    load: &Load,
) -> Result<Sample> {
    let mut client = HubwardClient::login(kind, dialer, connector.port(), DEVICE, load).await?;
    client.send(load.warm_up()).await?;
    let watch = Stopwatch::start();
    client.send(load.messages).await?;
    let sample = watch.stop(load.messages);
    client.close().await?;
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_is_measured_beside_its_bound() {
        let options = Options {
            rounds: 1,
            messages: None,
            windows: vec![1, 100],
            sinks: Style::ALL.to_vec(),
            transports: vec![Client::Mqtt],
            cores: Cores::Any,
        };
        let rows = plan(&options);
        let order: Vec<_> = rows.iter().map(|it| (it.sink, it.load.window, it.client, it.load.messages)).collect();
        assert_eq!(
            order,
            [
                (Style::Bulk, 1, Client::Bound, 20_000),
                (Style::Bulk, 1, Client::Mqtt, 20_000),
                (Style::Bulk, 100, Client::Bound, 400_000),
                (Style::Bulk, 100, Client::Mqtt, 400_000),
                (Style::BrokerLike, 1, Client::Bound, 20_000),
                (Style::BrokerLike, 1, Client::Mqtt, 20_000),
                (Style::BrokerLike, 100, Client::Bound, 400_000),
                (Style::BrokerLike, 100, Client::Mqtt, 400_000),
            ]
        );
        assert!(rows.iter().all(|it| it.load.payload.len() == PAYLOAD));
    }
}
