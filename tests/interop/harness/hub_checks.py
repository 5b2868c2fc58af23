"""Checks of a device or module at a hub. A check sends commands to the SDK, and controls the cloud through the
admin port. It compares the data at the device with the data in the cloud.

Each check is a function with three parameters: the device (`harness.device.Device`), the cloud side of this
device (`harness.emulator.Cloud`), and the client.
"""

import json

from .device import Mismatch, same

ODD = {"plain": "value", "empty": "", "sp ace": "a b", "a&b=c": "x/y?z#", "plus": "1+2", "percent": "100%", "é": "温度 🌡"}


def telemetry(device, cloud, _client):
    """The hub receives bodies, system properties and application properties unchanged."""
    device.do("connect")
    system = {
        "messageId": "m 1", "correlationId": "c/1", "userId": "u+1",
        "contentType": "application/json", "contentEncoding": "utf-8",
    }
    device.do("send", body='{"t": 21.5}', properties=ODD, **system)
    device.do("send", body="plain", properties={})
    output = {"output": "out1"} if cloud.is_module else {}
    device.do("send", body="third", properties={"k": "v"}, messageId="m3", **output)
    first, second, third = cloud.telemetry(3)
    same("the body", first["body"], '{"t": 21.5}')
    same("application properties", first["properties"], ODD)
    same("system properties", _of_the_device(first), {
        "$.mid": "m 1", "$.cid": "c/1", "$.uid": "u+1", "$.ct": "application/json", "$.ce": "utf-8",
    })
    scope = json.loads(first["systemProperties"]["iothub-connection-auth-method"])["scope"]
    same("scope of the authentication", scope, "module" if cloud.is_module else "device")
    same("the body", (second["body"], second["properties"]), ("plain", {}))
    expected = {"$.mid": "m3", "$.on": "out1"} if cloud.is_module else {"$.mid": "m3"}
    same("system properties", _of_the_device(third), expected)


def twin(device, cloud, client):
    """The device reads its twin, reports properties, and receives changes to desired properties."""
    cloud.patch_twin({"properties": {"desired": {"fan": {"speed": 1}, "note": "é", "list": [1, {"a": 2}]}}})
    device.do("connect")
    before = cloud.twin()["properties"]
    read = device.do("twin")
    same("desired as read", _plain(read["desired"]), {"fan": {"speed": 1}, "note": "é", "list": [1, {"a": 2}]})
    same("desired version as read", read["desired"]["$version"], before["desired"]["$version"])
    same("reported version as read", read["reported"]["$version"], before["reported"]["$version"])

    device.do("report", patch={"battery": 55, "gone": 1, "net": {"ip": "::1", "mask": 64}})
    device.do("report", patch={"gone": None, "net": {"mask": None, "mtu": 1500}, "wörd": "x"})
    after = cloud.twin()["properties"]["reported"]
    same("reported at the cloud", _plain(after), {"battery": 55, "net": {"ip": "::1", "mtu": 1500}, "wörd": "x"})
    same("reported version", after["$version"], before["reported"]["$version"] + 2)
    same("reported as read back", _plain(device.do("twin")["reported"]), _plain(after))

    error = device.error_of("report", patch={"a.b": 1})
    # The Python SDK's error contains the status. The Node SDK's error contains the hub's message.
    if ("400" if client.sdk == "python" else "`a.b`") not in error:
        raise Mismatch(f"unexpected error of a refused report: {error}")
    same("reported version", cloud.twin()["properties"]["reported"]["$version"], after["$version"])

    device.do("desired")
    cloud.patch_twin({"properties": {"desired": {"fan": {"speed": 2}, "note": None}}})
    version = cloud.twin()["properties"]["desired"]["$version"]
    same("desired version at the cloud", version, before["desired"]["$version"] + 1)
    patch = device.event("desired", lambda it: it["patch"].get("$version") == version)["patch"]
    same("the change", _plain(patch), {"fan": {"speed": 2}, "note": None})
    same("desired as read", _plain(device.do("twin")["desired"]), {"fan": {"speed": 2}, "list": [1, {"a": 2}]})


def method(device, cloud, client):
    """The device answers methods. As in Azure, a call fails if the device has not subscribed or the method is unknown."""
    device.do("connect")
    # Before the SDK has subscribed to methods, the hub answers that the device is offline.
    status, body = cloud.call("reboot", {"delay": 1})
    same("a call of a device without a subscription", (status, body["errorCode"]), (404, 404103))
    answers = {
        "reboot": {"status": 200, "payload": {"ok": True, "text": "é"}},
        "status": {"status": -7, "payload": [1, "two", None]},
        "silent": {"status": 204, "payload": None},
    }
    device.do("methods", answers=answers)
    for name, payload in (("reboot", {"delay": 1.5, "text": "温"}), ("status", "text"), ("silent", None)):
        status, body = cloud.call(name, payload)
        same(f"{name}: HTTP status", status, 200)
        same(f"{name}: answer", (body["status"], body.get("payload")), (answers[name]["status"], answers[name]["payload"]))
        same(f"{name}: payload at the device", device.event("method")["payload"], payload)
    status, body = cloud.call("unknown", None, seconds=5)
    if client.sdk == "python":
        # The Python SDK passes every method name to one handler. The handler in `clients/device.py` answers an unknown
        # name with 404.
        same("an unknown name", (status, body["status"]), (200, 404))
    else:
        # The Node SDK does not answer a call of a method without a handler.
        same("an unknown name", (status, body["errorCode"]), (504, 504101))


def message(device, cloud, _client):
    """The device receives messages with all their properties. The hub deletes acknowledged messages."""
    device.do("connect")
    if not cloud.is_module:
        cloud.send("before", {})
        same("the queue before the device subscribes", [it["state"] for it in cloud.queued()], ["enqueued"])
        device.do("messages")
        same("the body", device.event("message")["body"], "before")
    else:
        device.do("messages")
    system = {"messageId": "m 1", "correlationId": "c/1", "userId": "u+1", "contentType": "text/plain", "contentEncoding": "utf-8"}
    cloud.send("hé", ODD, **system)
    received = device.event("message")
    same("the body", received["body"], "hé")
    application = {name: value for name, value in received["properties"].items() if not name.startswith(("$.", "iothub-"))}
    same("application properties", application, ODD)
    same("system properties", {name: received.get(name) for name in system}, system)
    if cloud.is_module:
        same("the input", received["input"], cloud.INPUT)
    cloud.wait_until_acknowledged()


def reconnect(device, cloud, _client):
    """The cloud sends a message while the device is disconnected. With a kept session, the device receives it later."""
    device.do("connect")
    device.do("messages")
    device.do("methods", answers={"ping": {"status": 200, "payload": "pong"}})
    cloud.send("first", {})
    same("the body", device.event("message")["body"], "first")
    cloud.wait_until_acknowledged()
    device.do("disconnect")
    cloud.wait_until_disconnected()
    cloud.send("while away", {"k": "v"})
    same("the queue while disconnected", [it["state"] for it in cloud.queued()], ["enqueued"])
    device.do("connect")
    received = device.event("message")
    same("the message", (received["body"], received["properties"].get("k")), ("while away", "v"))
    cloud.wait_until_acknowledged()
    # The kept session still contains the subscription to methods.
    status, body = cloud.call("ping", None)
    same("a call", (status, body.get("payload")), (200, "pong"))


def certificate(device, cloud, client):
    """A device or module with a certificate can do the same as one with keys."""
    telemetry(device, cloud, client)
    same("authentication", {authentication_type(it) for it in cloud.telemetry(3)}, {"x509"})
    twin(device, cloud, client)
    method(device, cloud, client)


def refused(reason):
    """Returns a check: the hub refuses the certificate with CONNACK 5. Only the emulator's journal has the reason."""
    def check(device, cloud, client):
        error = device.error_of("connect")
        if ("CredentialError" if client.sdk == "python" else "UnauthorizedError") not in error:
            raise Mismatch(f"unexpected error of a refused connection: {error}")
        same("the reason in the journal", set(cloud.refusals()), {reason})

    return check


def authentication_type(message):
    """How the sender of the message has authenticated: `sas` or `x509`."""
    return json.loads(message["systemProperties"]["iothub-connection-auth-method"])["type"]


def _of_the_device(message):
    """Returns the system properties that the device set, without those that the hub has added."""
    return {name: value for name, value in message["systemProperties"].items() if name.startswith("$.")}


def _plain(properties):
    """The properties without the service's own names, which begin with `$`."""
    return {name: value for name, value in properties.items() if not name.startswith("$")}
