//! A new emulator in this process. The run compares the cloud with it.

use std::sync::Arc;

use hubward_emulator::Emulator;

use super::cloud::Cloud;

#[derive(Debug)]
pub(super) struct Reference {
    emulator: Emulator,
    pub(super) cloud: Arc<Cloud>,
}

impl Reference {
    pub(super) async fn start() -> Result<Self, String> {
        let emulator = Emulator::start().await.map_err(|error| error.to_string())?;
        let hub = emulator.hubs().first().cloned().unwrap_or_default();
        let (mqtt, https) = (emulator.mqtt_addr(), emulator.https_addr());
        let variable = |name: &str| match name {
            "IOTHUB_CONNECTION_STRING" => emulator.hub_connection_string(&hub),
            "PROVISIONING_CONNECTION_STRING" => Some(emulator.dps_connection_string()),
            "PROVISIONING_IDSCOPE" => Some(emulator.id_scope().to_owned()),
            "PROVISIONING_HOST" => Some(hub.clone()),
            "HUBWARD_CA_FILE" => Some(emulator.ca_file().display().to_string()),
            "HUBWARD_CONNECT_TO" => Some(format!(":8883:{mqtt},:443:{https}")),
            "HUBWARD_EMULATOR_ADMIN" => Some(format!("http://{}", emulator.admin_addr())),
            _ => None,
        };
        let cloud = Arc::new(Cloud::new(variable).await?);
        Ok(Self { emulator, cloud })
    }

    pub(super) async fn shutdown(self) {
        self.emulator.shutdown().await;
    }
}
