//! The task that renews the certificate of a device: it waits until a renewal is due, requests another certificate from
//! the hub, and asks the supervisor to use it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::super::control::{CertificateNews, Control};
use super::super::event::{CertificateIssuer, DeviceEvent};
use super::super::lifecycle::Due;
use super::keeper::{Issued, Keeper, now};
use super::renewal::{CertificateHub, RenewalFailure};

/// Renews the certificate of one device.
#[derive(Debug)]
pub(crate) struct Renewer<H> {
    keeper: Arc<Keeper>,
    control: Arc<Control>,
    /// Does not keep the client alive.
    hub: H,
}

/// What the task does next.
#[derive(Debug)]
enum Step {
    End,
    Wait(Duration),
    /// Waits until the supervisor says something.
    WaitForNews,
    Renew,
    Replace,
}

impl<H: CertificateHub> Renewer<H> {
    pub(crate) const fn new(keeper: Arc<Keeper>, control: Arc<Control>, hub: H) -> Self {
        Self { keeper, control, hub }
    }

    /// Runs until the device ends.
    pub(crate) async fn run(self) {
        loop {
            match self.step() {
                Step::End => return,
                Step::WaitForNews => self.keeper.changed().await,
                Step::Wait(time) => tokio::select! {
                    () = sleep(time) => {}
                    () = self.keeper.changed() => {}
                },
                Step::Renew => self.renew().await,
                Step::Replace => {
                    self.keeper.begin_request();
                    self.ask(CertificateNews::Expired);
                }
            }
        }
    }

    async fn renew(&self) {
        let Some(device_id) = self.hub.device_id() else {
            // The device has just ended.
            return self.keeper.changed().await;
        };
        match self.keeper.renew(&self.hub, &device_id).await {
            Some(Ok(issued)) => self.on_renewed(issued),
            Some(Err(failure)) => self.on_failed(failure),
            None => tracing::debug!("abandoned a certificate request, because the device registers or ends"),
        }
    }

    fn step(&self) -> Step {
        let wall = self.keeper.wall();
        let state = self.keeper.state();
        match &state.life {
            _ if state.is_ended => Step::End,
            Some(life) if state.is_online => match life.due(now(), wall) {
                Due::Wait(time) => Step::Wait(time),
                Due::Renew => Step::Renew,
                Due::Replace => Step::Replace,
            },
            _ => Step::WaitForNews,
        }
    }

    fn on_renewed(&self, issued: Issued) {
        let Issued { not_after, renews_in } = issued;
        let by = CertificateIssuer::Hub;
        self.control.report(&DeviceEvent::CertificateIssued { by, not_after, renews_in });
        self.ask(CertificateNews::Renewed);
    }

    fn on_failed(&self, failure: RenewalFailure) {
        let RenewalFailure { error, diagnosis, retry_in, not_after } = failure;
        let diagnosis = Box::new(diagnosis);
        self.control.report(&DeviceEvent::CertificateRenewalFailed { error, diagnosis, retry_in, not_after });
    }

    fn ask(&self, news: CertificateNews) {
        self.control.request_certificate(news);
        self.hub.ask_provider();
    }
}
