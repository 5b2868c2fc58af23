"""Provisions a device with a symmetric key, and sends ten telemetry messages at once.

The steps are the same as in the SDK's sample `provision_symmetric_key`, with the public API of the unmodified
package `azure-iot-device`. The program reads the four environment variables of the sample.
INTEROP_WEBSOCKETS=1 selects MQTT over WebSocket.

If INTEROP_HUB_KEY is set, the program uses this key to log in to the hub. The hub then refuses the device. The
login to DPS does not change.
"""

import asyncio
import faulthandler
import os
import uuid

from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient

MESSAGES = 10


async def main():
    key = os.environ["PROVISIONING_SYMMETRIC_KEY"]
    websockets = os.environ.get("INTEROP_WEBSOCKETS") == "1"

    provisioning = ProvisioningDeviceClient.create_from_symmetric_key(
        provisioning_host=os.environ["PROVISIONING_HOST"],
        registration_id=os.environ["PROVISIONING_REGISTRATION_ID"],
        id_scope=os.environ["PROVISIONING_IDSCOPE"],
        symmetric_key=key,
        websockets=websockets,
    )
    result = await provisioning.register()
    print("The complete registration result is")
    print(result.registration_state)
    if result.status != "assigned":
        raise SystemExit(f"the registration status is {result.status} instead of assigned")

    print("Will send telemetry from the provisioned device", flush=True)
    device = IoTHubDeviceClient.create_from_symmetric_key(
        symmetric_key=os.environ.get("INTEROP_HUB_KEY", key),
        hostname=result.registration_state.assigned_hub,
        device_id=result.registration_state.device_id,
        websockets=websockets,
    )
    await device.connect()

    async def send(number):
        print(f"sending message #{number}")
        message = Message(f"test wind speed {number}")
        message.message_id = uuid.uuid4()
        await device.send_message(message)
        print(f"done sending message #{number}")

    await asyncio.gather(*(send(number) for number in range(1, MESSAGES + 1)))
    await device.disconnect()


if __name__ == "__main__":
    # At the time limit, prints the stack of each thread and exits.
    faulthandler.dump_traceback_later(float(os.environ["INTEROP_TIME_LIMIT"]), exit=True)
    asyncio.run(main())
