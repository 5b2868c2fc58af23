"""What is played with a connected device or module: the cloud's side through the admin port, the
device's through the SDK, each checked on the other one.

Every play is a function of the device (`harness.device`), the cloud as this case sees it
(`harness.emulator.Cloud`), and the client.
"""

import json

from .device import Mismatch, same

ODD = {"plain": "value", "empty": "", "sp ace": "a b", "a&b=c": "x/y?z#", "plus": "1+2", "percent": "100%", "é": "温度 🌡"}


def telemetry(device, cloud, _client):
    """Bodies, system properties and application properties arrive as the SDK was given them."""
    device.ask("connect")
    system = {
        "messageId": "m 1", "correlationId": "c/1", "userId": "u+1",
        "contentType": "application/json", "contentEncoding": "utf-8",
    }
    device.ask("send", body='{"t": 21.5}', properties=ODD, **system)
    device.ask("send", body="plain", properties={})
    output = {"output": "out1"} if cloud.is_module else {}
    device.ask("send", body="third", properties={"k": "v"}, messageId="m3", **output)
    first, second, third = cloud.telemetry(3)
    same("the body", first["body"], '{"t": 21.5}')
    same("application properties", first["properties"], ODD)
    same("system properties", _of_the_device(first), {
        "$.mid": "m 1", "$.cid": "c/1", "$.uid": "u+1", "$.ct": "application/json", "$.ce": "utf-8",
    })
    scope = json.loads(first["systemProperties"]["iothub-connection-auth-method"])["scope"]
    same("whose key", scope, "module" if cloud.is_module else "device")
    same("the body", (second["body"], second["properties"]), ("plain", {}))
    expected = {"$.mid": "m3", "$.on": "out1"} if cloud.is_module else {"$.mid": "m3"}
    same("system properties", _of_the_device(third), expected)


def twin(device, cloud, client):
    """A twin is read, reported to, and followed."""
    cloud.patch_twin({"properties": {"desired": {"fan": {"speed": 1}, "note": "é", "list": [1, {"a": 2}]}}})
    device.ask("connect")
    before = cloud.twin()["properties"]
    read = device.ask("twin")
    same("desired as read", _plain(read["desired"]), {"fan": {"speed": 1}, "note": "é", "list": [1, {"a": 2}]})
    same("desired version as read", read["desired"]["$version"], before["desired"]["$version"])
    same("reported version as read", read["reported"]["$version"], before["reported"]["$version"])

    device.ask("report", patch={"battery": 55, "gone": 1, "net": {"ip": "::1", "mask": 64}})
    device.ask("report", patch={"gone": None, "net": {"mask": None, "mtu": 1500}, "wörd": "x"})
    after = cloud.twin()["properties"]["reported"]
    same("reported at the cloud", _plain(after), {"battery": 55, "net": {"ip": "::1", "mtu": 1500}, "wörd": "x"})
    same("reported version", after["$version"], before["reported"]["$version"] + 2)
    same("reported as read back", _plain(device.ask("twin")["reported"]), _plain(after))

    refused = device.fails("report", patch={"a.b": 1})
    # Python's SDK says the status, Node's the hub's message.
    if ("400" if client.sdk == "python" else "`a.b`") not in refused:
        raise Mismatch(f"of a refused report the SDK says: {refused}")
    same("reported version", cloud.twin()["properties"]["reported"]["$version"], after["$version"])

    device.ask("desired")
    cloud.patch_twin({"properties": {"desired": {"fan": {"speed": 2}, "note": None}}})
    version = cloud.twin()["properties"]["desired"]["$version"]
    same("desired version at the cloud", version, before["desired"]["$version"] + 1)
    patch = device.event("desired", lambda it: it["patch"].get("$version") == version)["patch"]
    same("the change", _plain(patch), {"fan": {"speed": 2}, "note": None})
    same("desired as read", _plain(device.ask("twin")["desired"]), {"fan": {"speed": 2}, "list": [1, {"a": 2}]})


def method(device, cloud, client):
    """Methods are called, answered, and missed as they are at the service."""
    device.ask("connect")
    # The SDK has not subscribed yet: for the service the device is not there.
    status, body = cloud.call("reboot", {"delay": 1})
    same("a call of a device without methods", (status, body["errorCode"]), (404, 404103))
    answers = {
        "reboot": {"status": 200, "payload": {"ok": True, "text": "é"}},
        "status": {"status": -7, "payload": [1, "two", None]},
        "silent": {"status": 204, "payload": None},
    }
    device.ask("methods", answers=answers)
    for name, payload in (("reboot", {"delay": 1.5, "text": "温"}), ("status", "text"), ("silent", None)):
        status, body = cloud.call(name, payload)
        same(f"{name}: HTTP status", status, 200)
        same(f"{name}: answer", (body["status"], body.get("payload")), (answers[name]["status"], answers[name]["payload"]))
        same(f"{name}: payload at the device", device.event("method")["payload"], payload)
    status, body = cloud.call("unknown", None, seconds=5)
    if client.sdk == "python":
        # The Python SDK hands every name to one handler; ours answers 404.
        same("an unknown name", (status, body["status"]), (200, 404))
    else:
        # The Node SDK stays silent about a name without a listener.
        same("an unknown name", (status, body["errorCode"]), (504, 504101))


def message(device, cloud, _client):
    """Messages from the cloud arrive with all they carry, and are gone when they are acknowledged."""
    device.ask("connect")
    if not cloud.is_module:
        cloud.send("before", {})
        same("before there is a receiver", [it["state"] for it in cloud.queued()], ["enqueued"])
        device.ask("messages")
        same("the body", device.event("message")["body"], "before")
    else:
        device.ask("messages")
    system = {"messageId": "m 1", "correlationId": "c/1", "userId": "u+1", "contentType": "text/plain", "contentEncoding": "utf-8"}
    cloud.send("hé", ODD, **system)
    heard = device.event("message")
    same("the body", heard["body"], "hé")
    application = {name: value for name, value in heard["properties"].items() if not name.startswith(("$.", "iothub-"))}
    same("application properties", application, ODD)
    same("system properties", {name: heard.get(name) for name in system}, system)
    if cloud.is_module:
        same("the input", heard["input"], cloud.INPUT)
    cloud.wait_until_gone()


def reconnect(device, cloud, _client):
    """A kept session: what was sent to a device that is away arrives when it is back."""
    device.ask("connect")
    device.ask("messages")
    device.ask("methods", answers={"ping": {"status": 200, "payload": "pong"}})
    cloud.send("first", {})
    same("the body", device.event("message")["body"], "first")
    cloud.wait_until_gone()
    device.ask("disconnect")
    cloud.wait_until_away()
    cloud.send("while away", {"k": "v"})
    same("while away", [it["state"] for it in cloud.queued()], ["enqueued"])
    device.ask("connect")
    heard = device.event("message")
    same("the message", (heard["body"], heard["properties"].get("k")), ("while away", "v"))
    cloud.wait_until_gone()
    # Methods too, by the old subscription.
    status, body = cloud.call("ping", None)
    same("a call", (status, body.get("payload")), (200, "pong"))


def _of_the_device(message):
    """The system properties that the device set; the others are the hub's stamps."""
    return {name: value for name, value in message["systemProperties"].items() if name.startswith("$.")}


def _plain(properties):
    """Without the names that belong to the service."""
    return {name: value for name, value in properties.items() if not name.startswith("$")}
