"""Provisions a device with a symmetric key or a certificate, and sends ten telemetry messages at once.

The steps are the same as in the SDK's samples `provision_symmetric_key` and `provision_x509`, with the public API of
the unmodified package `azure-iot-device`. The program reads the environment variables of the samples. If
X509_CERT_FILE is set, the device uses the certificate. INTEROP_WEBSOCKETS=1 selects MQTT over WebSocket.

If INTEROP_HUB_KEY or INTEROP_HUB_CERT_FILE is set, the program uses this key or certificate to log in to the hub. The
hub then refuses the device. The login to DPS does not change.
"""

import asyncio
import faulthandler
import os
import uuid

from azure.iot.device import X509, Message
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient

MESSAGES = 10


async def main():
    env = os.environ
    has_certificate = "X509_CERT_FILE" in env
    websockets = env.get("INTEROP_WEBSOCKETS") == "1"

    dps = {
        "provisioning_host": env["PROVISIONING_HOST"],
        "registration_id": env["PROVISIONING_REGISTRATION_ID"],
        "id_scope": env["PROVISIONING_IDSCOPE"],
        "websockets": websockets,
    }
    if has_certificate:
        x509 = X509(env["X509_CERT_FILE"], env["X509_KEY_FILE"], env.get("X509_PASS_PHRASE"))
        provisioning = ProvisioningDeviceClient.create_from_x509_certificate(x509=x509, **dps)
    else:
        key = env["PROVISIONING_SYMMETRIC_KEY"]
        provisioning = ProvisioningDeviceClient.create_from_symmetric_key(symmetric_key=key, **dps)
    result = await provisioning.register()
    print("The complete registration result is")
    print(result.registration_state)
    if result.status != "assigned":
        raise SystemExit(f"the registration status is {result.status} instead of assigned")

    print("Will send telemetry from the provisioned device", flush=True)
    hub = {
        "hostname": result.registration_state.assigned_hub,
        "device_id": result.registration_state.device_id,
        "websockets": websockets,
    }
    if has_certificate:
        if "INTEROP_HUB_CERT_FILE" in env:
            x509 = X509(env["INTEROP_HUB_CERT_FILE"], env["INTEROP_HUB_KEY_FILE"])
        device = IoTHubDeviceClient.create_from_x509_certificate(x509=x509, **hub)
    else:
        key = env.get("INTEROP_HUB_KEY", key)
        device = IoTHubDeviceClient.create_from_symmetric_key(symmetric_key=key, **hub)
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
