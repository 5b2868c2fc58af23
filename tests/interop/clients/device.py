"""A device or module that reads commands from standard input, one JSON object per line.

The program answers each command with `{"id": …, "ok": …}` or `{"id": …, "error": …}`. It writes method calls,
messages and changes to desired properties as `{"event": …}`. It uses only the public API of the unmodified
package `azure-iot-device`.

INTEROP_CONNECTION_STRING is the connection string of the device or module. If it contains `x509=true`, X509_CERT_FILE
and X509_KEY_FILE are the files of the certificate. INTEROP_WEBSOCKETS=1 selects MQTT over WebSocket.
"""

import asyncio
import faulthandler
import json
import os
import sys

from azure.iot.device import X509, Message, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient


def write_line(line):
    print(json.dumps(line), flush=True)


class Device:
    def __init__(self, connection_string, websockets):
        self._is_module = "ModuleId=" in connection_string
        kind = IoTHubModuleClient if self._is_module else IoTHubDeviceClient
        if "x509=true" in connection_string:
            # The SDK refuses such a connection string.
            parts = dict(part.split("=", 1) for part in connection_string.split(";"))
            ids = {"device_id": parts["DeviceId"]}
            if self._is_module:
                ids["module_id"] = parts["ModuleId"]
            x509 = X509(os.environ["X509_CERT_FILE"], os.environ["X509_KEY_FILE"])
            self._client = kind.create_from_x509_certificate(x509, parts["HostName"], websockets=websockets, **ids)
        else:
            self._client = kind.create_from_connection_string(connection_string, websockets=websockets)
        self._answers = {}

    async def connect(self):
        await self._client.connect()

    async def disconnect(self):
        await self._client.disconnect()

    async def send(self, body, properties, output=None, **system):
        message = Message(body)
        for name, field in (
            ("messageId", "message_id"), ("correlationId", "correlation_id"), ("userId", "user_id"),
            ("contentType", "content_type"), ("contentEncoding", "content_encoding"),
        ):
            setattr(message, field, system.get(name))
        message.custom_properties.update(properties)
        if output is None:
            await self._client.send_message(message)
        else:
            await self._client.send_message_to_output(message, output)

    async def twin(self):
        return await self._client.get_twin()

    async def report(self, patch):
        await self._client.patch_twin_reported_properties(patch)

    async def desired(self):
        async def received(patch):
            write_line({"event": "desired", "patch": patch})

        self._client.on_twin_desired_properties_patch_received = received

    async def methods(self, answers):
        async def answer_call(request):
            write_line({"event": "method", "name": request.name, "payload": request.payload})
            answer = self._answers.get(request.name, {"status": 404, "payload": None})
            response = MethodResponse.create_from_method_request(request, answer["status"], answer["payload"])
            await self._client.send_method_response(response)

        self._answers = answers
        self._client.on_method_request_received = answer_call

    async def messages(self):
        async def received(message):
            # The SDK acknowledges the message.
            write_line({
                "event": "message",
                "body": message.data.decode(),
                "messageId": message.message_id,
                "correlationId": message.correlation_id,
                "userId": message.user_id,
                "contentType": message.content_type,
                "contentEncoding": message.content_encoding,
                "input": message.input_name,
                "properties": message.custom_properties,
            })

        self._client.on_message_received = received

    async def close(self):
        await self._client.shutdown()


async def main():
    device = Device(os.environ["INTEROP_CONNECTION_STRING"], os.environ.get("INTEROP_WEBSOCKETS") == "1")
    loop = asyncio.get_running_loop()
    write_line({"event": "ready"})
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if not line:
            return
        command = json.loads(line)
        number, name = command.pop("id"), command.pop("do")
        try:
            write_line({"id": number, "ok": await getattr(device, name)(**command)})
        except Exception as error:
            # The error of the SDK, and its cause.
            causes = [error, error.__cause__]
            write_line({"id": number, "error": "; ".join(f"{type(it).__name__}: {it}" for it in causes if it)})


if __name__ == "__main__":
    # At the time limit, prints the stack of each thread and exits.
    faulthandler.dump_traceback_later(float(os.environ["INTEROP_TIME_LIMIT"]), exit=True)
    asyncio.run(main())
