//! One life of a device: trouble at random, then healthy services.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use hubward_hub::{HubOptions, SendError};
use hubward_transport::{IdScope, Message, RegistrationId, TransportKind};
use tokio::time::{Instant, sleep};

use super::super::Device;
use super::coverage::Seen;
use super::planted::{self, Bug};
use super::world::{DpsMode, HubMode, World, keys};
use crate::Settings;

/// A device must be connected this long after the services have become healthy: the longest wait of the slow schedule,
/// a Retry-After, and some attempts.
const RECOVERS_WITHIN: Duration = Duration::from_secs(3 * 60 * 60);

/// The outcome of each message.
type Receipts = Arc<Mutex<BTreeMap<u64, Vec<Result<(), SendError>>>>>;

/// Runs one seed. Returns an error that names the promise that was broken.
pub(super) fn run(seed: u64, bug: Option<Bug>, seen: &mut Seen) -> Result<(), String> {
    fastrand::seed(seed);
    planted::plant(bug);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let (result, world) = runtime.expect("a runtime").block_on(async {
        let world = World::new(Rng::with_seed(seed));
        (Life::new(world.clone(), seed).run().await, world)
    });
    planted::plant(None);
    let world = world.lock();
    seen.add(&world.seen);
    world.problem.clone().map_or(result, Err)
}

/// The program of a device.
struct Life {
    world: World,
    seed: u64,
    rng: Rng,
    device: Option<Device>,
    /// The list of credentials with which the device starts, and its length.
    list: Arc<Mutex<(char, usize)>>,
    /// The letter of the next list.
    next_list: char,
    next_message: u64,
    receipts: Receipts,
}

impl Life {
    fn new(world: World, seed: u64) -> Self {
        let rng = Rng::with_seed(seed ^ 0x5eed);
        let list = Arc::new(Mutex::new(('a', 1)));
        Self { world, seed, rng, device: None, list, next_list: 'b', next_message: 0, receipts: Arc::default() }
    }

    async fn run(mut self) -> Result<(), String> {
        let count = self.rng.usize(1..=2);
        *self.list.lock().expect("no panic") = ('a', count);
        {
            let mut world = self.world.lock();
            world.model.lists.insert('a', count);
            world.valid.extend((0..count).map(|it| format!("a{it}")));
        }
        if self.rng.u8(..) < 100 {
            self.trouble();
        }
        self.start();
        for _ in 0..self.rng.usize(2..=5) {
            let length = match self.rng.u8(..4) {
                0 => self.seconds(1.0, 60.0),
                1 | 2 => self.seconds(60.0, 900.0),
                _ => self.seconds(900.0, 2_400.0),
            };
            let acts = self.rng.u32(0..=3);
            for _ in 0..acts {
                sleep(length / (acts + 1)).await;
                self.act().await;
            }
            sleep(length / (acts + 1)).await;
            self.trouble();
            if self.world.lock().problem.is_some() {
                return Ok(());
            }
        }
        self.heal();
        self.recover().await?;
        self.end().await
    }

    fn seconds(&mut self, least: f64, most: f64) -> Duration {
        Duration::from_secs_f64(least + (most - least) * self.rng.f64())
    }

    /// Starts the device.
    fn start(&mut self) {
        let (list, count) = *self.list.lock().expect("no panic");
        let (scope, id) = (IdScope::new("0ne1").expect("a scope"), RegistrationId::new("dev-1").expect("an id"));
        let mut keys = keys(list, count);
        let first = keys.next().expect("a credential");
        let deadline = self.seconds(20.0, 400.0);
        let options = HubOptions::default().window(4).send_deadline(Some(deadline)).seed(Some(self.seed));
        let settings = Settings::new("dps.example", scope, id, first.credential().clone())
            .hub_transport(TransportKind::Mqtt)
            .options(|it| it.hub_options(options));
        // The name of the file is only for events: the cache is in memory.
        let mut settings = settings.device().cache("assignment.cache");
        settings.fallbacks = keys.collect();
        let world = self.world.clone();
        let settings = settings.on_event(move |event| {
            let mut world = world.lock();
            world.log(|| event.to_string());
            world.seen.note_event(event);
        });
        let (network, storage) = (Box::new(self.world.clone()), Box::new(self.world.clone()));
        self.device = Some(settings.start(network, storage, None).expect("a device"));
    }

    /// Changes how the services behave.
    fn trouble(&mut self) {
        let mut world = self.world.lock();
        for hub in 0..2 {
            world.hubs[hub] = match self.rng.u8(..20) {
                0..7 => HubMode::Healthy,
                7..9 => HubMode::Unreachable,
                9 => HubMode::Hangs,
                10 => HubMode::Untrusted,
                11 => HubMode::Unavailable(None),
                12 => HubMode::Unavailable(Some(Duration::from_secs(self.rng.u64(10..900)))),
                13 => HubMode::Throttles(None),
                14 => HubMode::Throttles(Some(Duration::from_secs(self.rng.u64(1..900)))),
                15..17 => HubMode::Drops(Duration::from_secs_f64(0.01 + 50.0 * self.rng.f64())),
                17 => HubMode::Drops(Duration::from_secs(self.rng.u64(60..900))),
                _ => HubMode::Late(Duration::from_secs_f64(40.0 * self.rng.f64())),
            };
            if self.rng.bool() || !matches!(world.hubs[hub], HubMode::Healthy) {
                world.cut(hub);
            }
        }
        world.dps = match self.rng.u8(..20) {
            0..4 => DpsMode::Assigns(0),
            4..9 => DpsMode::Assigns(self.rng.u32(1..4)),
            9 => DpsMode::KeepsAssigning,
            10 => DpsMode::Throttles(None),
            11 | 12 => DpsMode::Throttles(Some(Duration::from_secs(self.rng.u64(1..1_800)))),
            13 | 14 => DpsMode::Fails,
            15 => DpsMode::Refuses,
            16 => DpsMode::Disabled,
            17 => DpsMode::Unreachable,
            18 => DpsMode::Hangs,
            _ => DpsMode::PollsFail,
        };
        if self.rng.u8(..3) == 0 {
            world.target = self.rng.usize(..3);
            if self.rng.bool() {
                // The old hub removes the device.
                let target = world.target;
                for hub in (0..3).filter(|it| *it != target) {
                    world.knows[hub] = false;
                    world.cut(hub);
                }
            }
        }
        if self.rng.u8(..4) == 0 {
            // An operator rolls the first key of the list.
            let (list, count) = *self.list.lock().expect("no panic");
            let key = format!("{list}0");
            if count > 1 && !world.valid.remove(&key) {
                world.valid.insert(key);
            }
            if self.rng.bool() {
                world.cut(0);
                world.cut(1);
            }
        }
        if self.rng.u8(..5) == 0 {
            // An operator deletes the device.
            world.knows = [false; 3];
            world.cut(0);
            world.cut(1);
        }
        let (hubs, dps, target, knows) = (world.hubs, world.dps, world.target, world.knows);
        world.log(|| {
            format!("--- hubs {hubs:?}, DPS {dps:?} assigns {target}, the hubs know it: {knows:?}, {:?}", world.valid)
        });
    }

    /// The program does something.
    async fn act(&mut self) {
        match self.rng.u8(..20) {
            0..13 => (0..self.rng.u8(1..=4)).for_each(|_| self.send()),
            13..15 => {
                let mut world = self.world.lock();
                world.log(|| "the program asks for a registration".into());
                let dps_is_open = world.dps_open > 0;
                world.model.on_operator(dps_is_open);
                drop(world);
                self.device().reprovision();
            }
            15..18 => self.change_credentials(),
            _ => self.reboot().await,
        }
    }

    fn device(&self) -> &Device {
        self.device.as_ref().expect("the device runs")
    }

    fn send(&mut self) {
        let number = self.next_message;
        self.next_message += 1;
        let Ok(receipt) = self.device().try_enqueue(Message::new(number.to_string())) else { return };
        self.receipts.lock().expect("no panic").insert(number, Vec::new());
        let receipts = self.receipts.clone();
        tokio::spawn(async move {
            let outcome = receipt.await;
            receipts.lock().expect("no panic").entry(number).or_default().push(outcome);
        });
    }

    fn change_credentials(&mut self) {
        let (list, count) = (self.next_list, self.rng.usize(1..=2));
        self.next_list = char::from_u32(u32::from(list) + 1).unwrap_or('z');
        {
            let mut world = self.world.lock();
            world.model.on_change(list, count);
            if self.rng.bool() {
                world.valid.extend((0..count).map(|it| format!("{list}{it}")));
            }
        }
        let change = self.device().change_credentials(keys(list, count));
        let (kept, world) = (self.list.clone(), self.world.clone());
        tokio::spawn(async move {
            match change.await {
                Ok(()) => *kept.lock().expect("no panic") = (list, count),
                Err(super::super::CredentialChangeError::Superseded) => {
                    world.lock().seen.note("program: changes a trial")
                }
                Err(_) => {}
            }
        });
    }

    /// The program ends and starts again.
    async fn reboot(&mut self) {
        self.device = None;
        // The client closes its connection in the background.
        while self.world.is_in_use() {
            sleep(Duration::from_millis(1)).await;
        }
        {
            let mut world = self.world.lock();
            world.seen.note("program: reboot");
            world.model.on_reboot();
        }
        self.start();
    }

    /// Makes the services healthy.
    fn heal(&mut self) {
        let (list, count) = *self.list.lock().expect("no panic");
        let mut world = self.world.lock();
        world.hubs = [HubMode::Healthy, HubMode::Healthy, HubMode::Unreachable];
        world.dps = DpsMode::Assigns(self.rng.u32(0..3));
        world.target = self.rng.usize(..2);
        world.valid.insert(format!("{list}{}", self.rng.usize(..count)));
        world.log(|| "--- healthy".into());
        world.cut(0);
        world.cut(1);
        if let Some(home) = world.model.home.filter(|it| *it != world.target) {
            world.knows[home] = false;
        }
    }

    /// Waits until the hub has acknowledged a message, and then for a while.
    async fn recover(&mut self) -> Result<(), String> {
        let until = Instant::now() + RECOVERS_WITHIN;
        let healed = self.next_message;
        while !self.world.lock().acknowledged.range(healed..).any(|_| true) {
            if Instant::now() > until {
                return Err(format!("the device is not connected: {:?}", self.device().state().borrow().clone()));
            }
            self.send();
            sleep(Duration::from_secs(300)).await;
        }
        sleep(Duration::from_secs(1_200)).await;
        match self.device().state().borrow().is_connected() {
            true => Ok(()),
            false => Err("the device is not connected any more, and the services are healthy".into()),
        }
    }

    /// Closes the device, and checks the receipts.
    async fn end(&mut self) -> Result<(), String> {
        let _unsent = self.device().close(Duration::from_secs(5)).await;
        sleep(Duration::from_secs(1)).await;
        let mut world = self.world.lock();
        for (number, outcomes) in &*self.receipts.lock().expect("no panic") {
            let [outcome] = &outcomes[..] else { return Err(format!("receipt {number}: {} results", outcomes.len())) };
            let (is_sent, is_acknowledged) = (world.messages.contains_key(number), world.acknowledged.contains(number));
            let (kind, is_true) = match outcome {
                Ok(()) => ("receipt: acknowledged", is_acknowledged),
                Err(SendError::NotSent { .. }) => ("receipt: not sent", !is_sent),
                Err(_) => ("receipt: unknown", is_sent),
            };
            world.seen.note(kind);
            if !is_true {
                return Err(format!("receipt {number}: {outcome:?}, sent {is_sent}, acknowledged {is_acknowledged}"));
            }
        }
        Ok(())
    }
}
