//! A simulated device, as the program that runs it sees it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

/// A simulated device. The emulator passes it to the program that embeds the emulator, and this program runs it; see
/// [`Builder::simulated_device`](crate::Builder::simulated_device).
pub struct SimulatedDevice {
    pub(super) registration_id: String,
    pub(super) vars: Vec<(&'static str, String)>,
    pub(super) stop: watch::Receiver<bool>,
}

impl SimulatedDevice {
    /// The registration id.
    #[must_use]
    pub fn registration_id(&self) -> &str {
        &self.registration_id
    }

    /// Returns the device's settings as environment variables: `PROVISIONING_*`, `HUBWARD_CA_FILE`,
    /// `HUBWARD_CONNECT_TO`. One of the variables contains the key of the device.
    #[must_use]
    pub fn vars(&self) -> &[(&'static str, String)] {
        &self.vars
    }

    /// Returns when the device has to stop, because a user stops it or the emulator shuts down.
    ///
    /// The future that runs the device then has two seconds to end. After that time, the emulator drops it. A reset of
    /// the emulator drops it immediately.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn stopped(&self) {
        // If the sender is gone, the emulator has forgotten the device.
        let _ = self.stop.clone().wait_for(|it| *it).await;
    }
}

impl fmt::Debug for SimulatedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `vars` contains a key.
        f.debug_struct("SimulatedDevice").field("registration_id", &self.registration_id).finish_non_exhaustive()
    }
}

type Running = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The function of the program that runs a device.
#[derive(Clone)]
pub(crate) struct RunDevice(Arc<dyn Fn(SimulatedDevice) -> Running + Send + Sync>);

impl RunDevice {
    pub(crate) fn new<F, R>(run: F) -> Self
    where
        F: Fn(SimulatedDevice) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self(Arc::new(move |device| Box::pin(run(device))))
    }

    pub(super) fn call(&self, device: SimulatedDevice) -> Running {
        (self.0)(device)
    }
}

impl fmt::Debug for RunDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunDevice(..)")
    }
}
