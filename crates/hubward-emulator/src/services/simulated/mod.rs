//! Starts, lists and stops simulated devices. The emulator contains no device client, so the program that embeds the
//! emulator runs each device with its own client.

mod device;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) use device::RunDevice;
pub use device::SimulatedDevice;

use crate::state::model::EnrollError;

/// Maximum number of simulated devices that run at a time.
pub(crate) const MAX: usize = 10;

/// How long a device may continue after it was asked to stop.
const STOP: Duration = Duration::from_secs(2);

/// Maximum length of the text of an error, in characters.
const LONGEST: usize = 1000;

/// The simulated devices of an emulator.
#[derive(Debug)]
pub(crate) struct Simulated {
    run: Option<RunDevice>,
    devices: Mutex<Devices>,
    slots: Arc<Semaphore>,
}

/// Why a device cannot be started.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The program that embeds the emulator cannot run devices, or the emulator shuts down.
    Unavailable,
    /// The device runs already.
    Running,
    /// [`MAX`] devices are running.
    Full,
    /// The device cannot get an enrollment.
    Enroll(EnrollError),
}

/// The enrollment of a device: its registration id, and its settings as environment variables.
pub(crate) type Enrolled = (String, Vec<(&'static str, String)>);

/// A simulated device, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) registration_id: String,
    pub(crate) since: SystemTime,
    /// How the device ended; `None` while it runs.
    pub(crate) ended: Option<Result<(), String>>,
}

#[derive(Debug, Default)]
struct Devices {
    /// The devices that run, and those that ended by themselves. The key is the registration id in lower case.
    listed: BTreeMap<String, Entry>,
    is_closed: bool,
}

/// A device. Dropping it aborts the device.
#[derive(Debug)]
struct Entry {
    registration_id: String,
    since: SystemTime,
    stop: watch::Sender<bool>,
    ended: Arc<OnceLock<Result<(), String>>>,
    task: JoinHandle<()>,
}

impl Simulated {
    pub(crate) fn new(run: Option<RunDevice>) -> Self {
        Self { run, devices: Mutex::default(), slots: Arc::new(Semaphore::new(MAX)) }
    }

    /// Returns whether the program can run devices.
    pub(crate) const fn is_available(&self) -> bool {
        self.run.is_some()
    }

    /// The devices that run, and those that ended by themselves.
    pub(crate) fn list(&self) -> Vec<View> {
        self.devices().listed.values().map(Entry::view).collect()
    }

    /// Starts a device and returns its registration id. If `registration_id` is `None`, uses the first of the ids
    /// `sim-1`, `sim-2`, … that no running device has. Passes the id to `enroll`, which returns the enrollment.
    pub(crate) fn start(
        &self,
        registration_id: Option<&str>,
        now: SystemTime,
        enroll: impl FnOnce(&str) -> Result<Enrolled, EnrollError>,
    ) -> Result<String, Refused> {
        let run = self.run.as_ref().ok_or(Refused::Unavailable)?;
        let mut devices = self.devices();
        if devices.is_closed {
            return Err(Refused::Unavailable);
        }
        let name = registration_id.map(str::to_owned).or_else(|| devices.free_name()).ok_or(Refused::Full)?;
        let key = name.to_ascii_lowercase();
        if devices.is_running(&key) {
            return Err(Refused::Running);
        }
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| Refused::Full)?;
        let (stop, stopped) = watch::channel(false);
        let (registration_id, vars) = enroll(&name).map_err(Refused::Enroll)?;
        let device = SimulatedDevice { registration_id: registration_id.clone(), vars, stop: stopped };
        tracing::info!(registration_id, "a simulated device starts");
        let ended = Arc::new(OnceLock::new());
        let (running, outcome) = (run.call(device), Arc::clone(&ended));
        let task = tokio::spawn(async move {
            let _slot = slot;
            let result = running.await.map_err(|it| it.chars().take(LONGEST).collect());
            tracing::info!(?result, "a simulated device has ended");
            let _ = outcome.set(result);
        });
        if devices.listed.len() >= MAX {
            devices.listed.retain(|_, it| it.is_running());
        }
        let entry = Entry { registration_id: registration_id.clone(), since: now, stop, ended, task };
        devices.listed.insert(key, entry);
        Ok(registration_id)
    }

    /// Stops a device and removes it from the list. Returns `false` if the list does not contain the device.
    ///
    /// # Cancel safety
    /// If the future is dropped, the device is aborted.
    pub(crate) async fn stop(&self, registration_id: &str) -> bool {
        let entry = self.devices().listed.remove(&registration_id.to_ascii_lowercase());
        match entry {
            Some(entry) => {
                entry.stopped().await;
                true
            }
            None => false,
        }
    }

    /// Stops all devices. No device can be started afterwards.
    pub(crate) async fn close(&self) {
        let mut listed = {
            let mut devices = self.devices();
            devices.is_closed = true;
            std::mem::take(&mut devices.listed)
        };
        let ended = async {
            for entry in listed.values() {
                entry.stop.send_replace(true);
            }
            for entry in listed.values_mut() {
                let _ = (&mut entry.task).await;
            }
        };
        // Dropping `listed` aborts the devices that are still running.
        let _ = timeout(STOP, ended).await;
    }

    /// Aborts all devices and removes them from the list.
    pub(crate) fn abort(&self) {
        self.devices().listed.clear();
    }

    fn devices(&self) -> MutexGuard<'_, Devices> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Devices {
    fn is_running(&self, key: &str) -> bool {
        self.listed.get(key).is_some_and(Entry::is_running)
    }

    /// Returns the first of the names `sim-1`, `sim-2`, … that no running device has. There are [`MAX`] such names.
    /// Returns `None` if running devices have all of them: then [`MAX`] devices run, and no other can start.
    fn free_name(&self) -> Option<String> {
        (1..=MAX).map(|number| format!("sim-{number}")).find(|it| !self.is_running(it))
    }
}

impl Entry {
    fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    fn view(&self) -> View {
        let panicked = || Err("the program's device panicked".to_owned());
        let ended = self.ended.get().cloned().or_else(|| (!self.is_running()).then(panicked));
        View { registration_id: self.registration_id.clone(), since: self.since, ended }
    }

    /// Asks the device to stop. If it still runs after [`STOP`], aborts it.
    async fn stopped(mut self) {
        self.stop.send_replace(true);
        if timeout(STOP, &mut self.task).await.is_err() {
            tracing::warn!(registration_id = self.registration_id, "a simulated device does not stop: aborted");
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn enrolled(name: &str) -> Result<Enrolled, EnrollError> {
        Ok((name.to_ascii_lowercase(), vec![("PROVISIONING_SYMMETRIC_KEY", format!("the key of {name}"))]))
    }

    fn start(simulated: &Simulated, name: Option<&str>) -> Result<String, Refused> {
        simulated.start(name, SystemTime::UNIX_EPOCH, enrolled)
    }

    fn obedient() -> Simulated {
        Simulated::new(Some(RunDevice::new(async |device: SimulatedDevice| {
            device.stopped().await;
            Ok(())
        })))
    }

    #[tokio::test]
    async fn without_a_function_no_device_starts() {
        let simulated = Simulated::new(None);
        assert!(!simulated.is_available());
        assert!(matches!(start(&simulated, None), Err(Refused::Unavailable)));
    }

    #[tokio::test]
    async fn a_device_that_fails_stays_in_the_list_and_can_be_started_again() {
        let (given, mut received) = tokio::sync::mpsc::channel(1);
        let simulated = Simulated::new(Some(RunDevice::new(move |device: SimulatedDevice| {
            let given = given.clone();
            async move {
                assert!(!format!("{device:?}").contains("the key of"), "the key is not printed");
                given.send(device.vars()[0].1.clone()).await.expect("the test waits");
                Err("é".repeat(2 * LONGEST))
            }
        })));
        assert_eq!(start(&simulated, None).expect("started"), "sim-1");
        assert_eq!(received.recv().await.expect("the device ran"), "the key of sim-1");
        while simulated.list()[0].ended.is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(simulated.list()[0].ended, Some(Err("é".repeat(LONGEST))));
        assert_eq!(start(&simulated, Some("SIM-1")).expect("started again"), "sim-1");
        assert_eq!(received.recv().await.expect("the device ran"), "the key of SIM-1");
        assert_eq!(simulated.list().len(), 1);
        assert!(simulated.stop("sim-1").await && !simulated.stop("sim-1").await);
    }

    #[tokio::test]
    async fn the_number_of_devices_is_bounded() {
        let simulated = obedient();
        for number in 1..=MAX {
            assert_eq!(start(&simulated, None).expect("started"), format!("sim-{number}"));
        }
        assert!(matches!(start(&simulated, None), Err(Refused::Full)));
        assert!(matches!(start(&simulated, Some("sim-3")), Err(Refused::Running)));
        assert!(simulated.stop("sim-3").await);
        let refused = |_: &str| Err(EnrollError::NotFound { id: "x".into() });
        let refused = simulated.start(None, SystemTime::UNIX_EPOCH, refused);
        assert!(matches!(refused, Err(Refused::Enroll(_))), "a refused enrollment takes no slot");
        assert_eq!(start(&simulated, None).expect("a free slot"), "sim-3");
        simulated.close().await;
        assert_eq!(simulated.list(), []);
        assert!(matches!(start(&simulated, None), Err(Refused::Unavailable)), "the emulator shuts down");
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_does_not_stop_is_aborted() {
        struct Count(Arc<AtomicUsize>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&dropped);
        let simulated = Simulated::new(Some(RunDevice::new(move |_| {
            let count = Count(Arc::clone(&counter));
            async move {
                let _count = count;
                std::future::pending().await
            }
        })));
        for expected in ["sim-1", "sim-2", "sim-3"] {
            assert_eq!(start(&simulated, None).expect("started"), expected);
        }
        simulated.stop("sim-1").await;
        simulated.listed_only(&["sim-2", "sim-3"]);
        simulated.abort();
        assert_eq!(start(&simulated, None).expect("can be started after an abort"), "sim-1");
        simulated.close().await;
        while dropped.load(Ordering::Relaxed) < 4 {
            tokio::task::yield_now().await;
        }
        simulated.listed_only(&[]);
    }

    impl Simulated {
        fn listed_only(&self, expected: &[&str]) {
            let names: Vec<String> = self.list().into_iter().map(|it| it.registration_id).collect();
            assert_eq!(names, expected);
        }
    }
}
