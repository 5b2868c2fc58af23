"""A device registers at DPS and sends telemetry, with Microsoft's SDK. The emulator plays the cloud."""

from azure.iot.device import IoTHubDeviceClient, ProvisioningDeviceClient


def test_a_device_registers_and_sends(iothub_device):
    registration = ProvisioningDeviceClient.create_from_symmetric_key(
        provisioning_host=iothub_device.host,
        registration_id=iothub_device.registration_id,
        id_scope=iothub_device.id_scope,
        symmetric_key=iothub_device.key,
    ).register()
    assert registration.status == "assigned"

    client = IoTHubDeviceClient.create_from_symmetric_key(
        symmetric_key=iothub_device.key,
        hostname=registration.registration_state.assigned_hub,
        device_id=registration.registration_state.device_id,
    )
    client.connect()
    client.send_message("21.5")
    client.shutdown()

    message = next(iothub_device.telemetry(timeout=30))
    assert message.text == "21.5"
