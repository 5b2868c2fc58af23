"""Makes every call of the service API of a hub in Microsoft's unmodified package `azure-iot-hub`.

INTEROP_HUB_IOTHUBOWNER, INTEROP_HUB_REGISTRYREAD and so on are the connection strings of the shared access
policies. INTEROP_CERTIFICATES lists the files of certificates. INTEROP_ADMIN is the admin port. This SDK would send
messages over AMQP, so the admin port sends them.
"""

import base64
import faulthandler
import json
import os
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from azure.core.credentials import AccessToken
from azure.iot.device import X509, IoTHubDeviceClient, IoTHubModuleClient, MethodResponse
from azure.iot.hub import (
    DigitalTwinClient, IoTHubConfigurationManager, IoTHubHttpRuntimeManager, IoTHubJobManager, IoTHubRegistryManager,
)
from azure.iot.hub.models import (
    AuthenticationMechanism, CloudToDeviceMethod, Configuration, ConfigurationContent, ConfigurationQueriesTestInput,
    ExportImportDevice, JobProperties, JobRequest, QuerySpecification, SymmetricKey, Twin, TwinProperties,
)
from surface import Surface, fails, same

PREFIX = "service-python"
HUB = "localhost"
OWNER = os.environ["INTEROP_HUB_IOTHUBOWNER"]
CERTIFICATES = json.loads(os.environ["INTEROP_CERTIFICATES"])
KEYS = [base64.b64encode(bytes([it]) * 32).decode() for it in range(4)]


def main():
    surface = Surface()
    registry = surface.watch("IoTHubRegistryManager", IoTHubRegistryManager.from_connection_string(OWNER))
    parts = [
        lambda: identities(registry),
        lambda: modules(registry),
        lambda: identities_with_certificates(registry),
        lambda: connections_with_certificates(registry),
        lambda: bulk(registry),
        lambda: twins(registry),
        lambda: queries(registry),
        lambda: methods(registry),
        lambda: messages(surface, registry),
        lambda: logins(surface, registry),
        lambda: not_emulated(surface),
    ]
    with ThreadPoolExecutor() as pool:
        for part in [pool.submit(it) for it in parts]:
            part.result()
    surface.report()


def identities(registry):
    """A device identity is created, read, updated, disabled and deleted."""
    name = f"{PREFIX}-device"
    created = registry.create_device_with_sas(name, KEYS[0], KEYS[1], "enabled", status_reason="first")
    same("the keys", keys_of(created), (KEYS[0], KEYS[1]))
    fails("DeviceAlreadyExists|Conflict", registry.create_device_with_sas, name, KEYS[0], KEYS[1], "enabled")
    shown = registry.get_device(name)
    same("the created device", (shown.etag, shown.generation_id), (created.etag, created.generation_id))
    same("its state", (shown.status, shown.status_reason, shown.connection_state), ("enabled", "first", "Disconnected"))
    same("waiting messages", shown.cloud_to_device_message_count, 0)
    fails("PreconditionFailed|Precondition Failed", registry.update_device_with_sas, name, "c3RhbGU=", *KEYS[2:], "enabled")
    changed = registry.update_device_with_sas(name, shown.etag, KEYS[2], KEYS[3], "disabled", status_reason="off")
    same("the new keys", keys_of(changed), (KEYS[2], KEYS[3]))
    same("its state", (changed.status, changed.status_reason), ("disabled", "off"))
    same("the generation ID", changed.generation_id, created.generation_id)
    registry.update_device_with_sas(name, None, KEYS[2], KEYS[3], "enabled")
    same("whether the list contains the device", name in [it.device_id for it in registry.get_devices(1000)], True)
    same("the length of a limited list", len(registry.get_devices(max_number_of_devices=1)), 1)
    counted = registry.get_device_registry_statistics()
    same("the total number of devices", counted.total_device_count, counted.enabled_device_count + counted.disabled_device_count)
    same("whether the number of connected devices is valid", registry.get_service_statistics().connected_device_count >= 0, True)
    fails("PreconditionFailed|Precondition Failed", registry.delete_device, name, "c3RhbGU=")
    registry.delete_device(name)
    fails("DeviceNotFound|Not Found", registry.get_device, name)
    fails("DeviceNotFound|Not Found", registry.update_device_with_sas, name, None, KEYS[0], KEYS[1], "enabled")
    # If the request contains no keys, the hub generates two keys.
    again = registry.create_device_with_sas(name, None, None, "enabled")
    same("the generated keys", [len(base64.b64decode(it)) in (32, 64) for it in keys_of(again)], [True, True])
    same("whether the new device has the old generation ID", again.generation_id == created.generation_id, False)
    registry.delete_device(name, again.etag)


def modules(registry):
    """A module identity and its twin are created, read, updated and deleted."""
    device, name = f"{PREFIX}-with-modules", "mod-1"
    fails("DeviceNotFound|Not Found", registry.create_module_with_sas, device, name, "", KEYS[0], KEYS[1])
    registry.create_device_with_sas(device, KEYS[0], KEYS[1], "enabled")
    created = registry.create_module_with_sas(device, name, "me", KEYS[0], KEYS[1])
    same("the module", (created.device_id, created.module_id, created.managed_by), (device, name, "me"))
    same("the keys", keys_of(created), (KEYS[0], KEYS[1]))
    same("the created module", registry.get_module(device, name).etag, created.etag)
    changed = registry.update_module_with_sas(device, name, "you", created.etag, KEYS[2], KEYS[3])
    same("the updated module", (changed.managed_by, keys_of(changed)), ("you", (KEYS[2], KEYS[3])))
    fails("PreconditionFailed|Precondition Failed", registry.update_module_with_sas, device, name, "", created.etag, *KEYS[:2])
    same("its modules", [it.module_id for it in registry.get_modules(device)], [name])

    twin = registry.get_module_twin(device, name)
    same("a new twin", (twin.device_id, twin.module_id, twin.properties.desired["$version"]), (device, name, 1))
    patched = registry.update_module_twin(device, name, desired({"fan": {"speed": 1}, "led": "red"}), twin.etag)
    same("patched", plain(patched.properties.desired), {"fan": {"speed": 1}, "led": "red"})
    replaced = registry.replace_module_twin(device, name, desired({"fan": {"speed": 2}}), patched.etag)
    same("replaced", plain(replaced.properties.desired), {"fan": {"speed": 2}})

    registry.delete_module(device, name, changed.etag)
    same("no module", registry.get_modules(device), [])
    fails("ModuleNotFound|Not Found", registry.get_module, device, name)
    registry.delete_device(device)


def identities_with_certificates(registry):
    """Identities of devices and modules with thumbprints or with a certificate authority."""
    device, module, first, second = f"{PREFIX}-x509", "mod-1", "A" * 40, "B" * 40
    created = registry.create_device_with_x509(device, first, None, "enabled")
    same("the thumbprints", thumbprints_of(created), ("selfSigned", first, None))
    same("the read device", thumbprints_of(registry.get_device(device)), ("selfSigned", first, None))
    same("the twin", registry.get_twin(device).authentication_type, "selfSigned")
    changed = registry.update_device_with_x509(device, created.etag, first, second, "enabled")
    same("both thumbprints", thumbprints_of(changed), ("selfSigned", first, second))
    fails("400|Bad Request", registry.update_device_with_x509, device, "*", first, "C" * 64, "enabled")
    fails("400|Bad Request", registry.update_device_with_x509, device, "*", "no-thumbprint", None, "enabled")
    changed = registry.update_device_with_certificate_authority(device, "*", "enabled")
    same("the authentication", thumbprints_of(changed), ("certificateAuthority", None, None))

    added = registry.create_module_with_x509(device, module, "", first, second)
    same("the module", thumbprints_of(added), ("selfSigned", first, second))
    added = registry.update_module_with_x509(device, module, "", added.etag, second, first)
    same("the module", thumbprints_of(added), ("selfSigned", second, first))
    added = registry.update_module_with_certificate_authority(device, module, "", added.etag)
    same("the module", thumbprints_of(added), ("certificateAuthority", None, None))
    registry.delete_module(device, module)
    added = registry.create_module_with_certificate_authority(device, module, "")
    same("the module", thumbprints_of(registry.get_module(device, module)), ("certificateAuthority", None, None))
    added = registry.update_module_with_sas(device, module, "", added.etag, KEYS[0], KEYS[1])
    same("the keys", keys_of(added), (KEYS[0], KEYS[1]))
    registry.delete_device(device)


def connections_with_certificates(registry):
    """The hub accepts the certificates of the identities that the SDK has created."""
    device, member = CERTIFICATES["device"], CERTIFICATES["member"]
    for files, create in (
        (device, lambda id: registry.create_device_with_x509(id, device["sha256"], None, "enabled")),
        (member, lambda id: registry.create_device_with_certificate_authority(id, "enabled")),
    ):
        create(files["id"])
        x509 = X509(files["certificate"], files["key"])
        client = IoTHubDeviceClient.create_from_x509_certificate(x509, HUB, files["id"])
        client.connect()
        same("the state", registry.get_device(files["id"]).connection_state, "Connected")
        client.shutdown()
        registry.delete_device(files["id"])


def bulk(registry):
    """Bulk operations on device identities."""
    names = [f"{PREFIX}-bulk-{number}" for number in range(3)]

    def entries(mode, **more):
        key = SymmetricKey(primary_key=KEYS[0], secondary_key=KEYS[1])
        return [ExportImportDevice(
            id=name, import_mode=mode, status="enabled",
            authentication=AuthenticationMechanism(type="sas", symmetric_key=key), **more,
        ) for name in names]

    def ok(what, result):
        same(what, (result.is_successful, result.errors), (True, []))

    ok("created", registry.bulk_create_or_update_devices(entries("create", tags={"lot": 1})))
    same("the tags", registry.get_twin(names[1]).tags, {"lot": 1})
    again = registry.bulk_create_or_update_devices(entries("create")[:1])
    same("created twice", (again.is_successful, again.errors[0].device_id), (False, names[0]))
    off = entries("update")
    off[0].status = "disabled"
    ok("updated", registry.bulk_create_or_update_devices(off))
    same("the status of each device", [registry.get_device(it).status for it in names], ["disabled", "enabled", "enabled"])
    ok("patched", registry.bulk_create_or_update_devices(
        [ExportImportDevice(id=names[0], import_mode="updateTwin", tags={"lot": 2})]))
    same("the tags", registry.get_twin(names[0]).tags, {"lot": 2})
    ok("deleted", registry.bulk_create_or_update_devices(
        [ExportImportDevice(id=it, import_mode="delete") for it in names]))
    fails("DeviceNotFound|Not Found", registry.get_device, names[2])


def twins(registry):
    """A twin is read, patched and replaced with its ETag."""
    name = f"{PREFIX}-twin"
    registry.create_device_with_sas(name, KEYS[0], KEYS[1], "enabled")
    twin = registry.get_twin(name)
    same("a new twin", (twin.device_id, twin.status, twin.authentication_type), (name, "enabled", "sas"))
    same("its versions", (twin.properties.desired["$version"], twin.properties.reported["$version"]), (1, 1))
    patch = Twin(tags={"site": "é", "gone": 1}, properties=TwinProperties(desired={"interval": 30, "fan": {"on": True}}))
    patched = registry.update_twin(name, patch, twin.etag)
    same("the tags", patched.tags, {"site": "é", "gone": 1})
    same("desired", plain(patched.properties.desired), {"interval": 30, "fan": {"on": True}})
    same("the versions", (patched.version, patched.properties.desired["$version"]), (twin.version + 1, 2))
    fails("PreconditionFailed|Precondition Failed", registry.update_twin, name, patch, twin.etag)
    removed = registry.update_twin(name, Twin(tags={"gone": None}))
    same("the tags", removed.tags, {"site": "é"})
    replaced = registry.replace_twin(name, Twin(tags={"new": 1}, properties=TwinProperties(desired={"a": [1, 2]})))
    same("replaced", (replaced.tags, plain(replaced.properties.desired)), ({"new": 1}, {"a": [1, 2]}))
    fails("400|Bad Request", registry.update_twin, name, desired({"a.b": 1}))
    fails("DeviceNotFound|Not Found", registry.get_twin, "unknown")
    registry.delete_device(name)


def queries(registry):
    """Queries by tag return twins page by page."""
    names = [f"{PREFIX}-query-{number}" for number in range(5)]
    for number, name in enumerate(names):
        registry.create_device_with_sas(name, KEYS[0], KEYS[1], "enabled")
        registry.update_twin(name, Twin(tags={"lot": f"{PREFIX}-q", "number": number}))
    text = f"SELECT * FROM devices WHERE tags.lot = '{PREFIX}-q'"
    found, token = [], None
    while True:
        page = registry.query_iot_hub(QuerySpecification(query=text), token, 2)
        same("the type", page.type.lower(), "twin")
        same("whether a page has at most two twins", len(page.items) <= 2, True)
        found += [it.device_id for it in page.items]
        token = page.continuation_token
        if token is None:
            break
    same("the devices of the query", sorted(found), names)
    few = registry.query_iot_hub(QuerySpecification(query=f"{text} AND tags.number >= 3 AND status = 'enabled'"))
    same("the last two", sorted(it.device_id for it in few.items), names[3:])
    fails("400|Bad Request", registry.query_iot_hub, QuerySpecification(query="SELECT FROM"))
    for name in names:
        registry.delete_device(name)


def methods(registry):
    """A device and a module answer methods. Calls to an offline or unknown device fail."""
    name = f"{PREFIX}-method"
    registry.create_device_with_sas(name, KEYS[0], KEYS[1], "enabled")
    registry.create_module_with_sas(name, "mod-1", "", KEYS[0], KEYS[1])
    call = CloudToDeviceMethod(
        method_name="reboot", payload={"delay": 3}, response_timeout_in_seconds=30, connect_timeout_in_seconds=0,
    )
    fails("DeviceNotOnline|Not Found", registry.invoke_device_method, name, call)
    fails("DeviceNotFound|Not Found", registry.invoke_device_method, "unknown", call)
    login = f"HostName={HUB};DeviceId={name};SharedAccessKey={KEYS[0]}"
    for kind, more, invoke in (
        (IoTHubDeviceClient, "", lambda: registry.invoke_device_method(name, call)),
        (IoTHubModuleClient, ";ModuleId=mod-1", lambda: registry.invoke_device_module_method(name, "mod-1", call)),
    ):
        client = kind.create_from_connection_string(login + more)
        client.connect()

        def answer(request, client=client):
            payload = {"heard": request.payload, "by": request.name}
            client.send_method_response(MethodResponse.create_from_method_request(request, 207, payload))

        client.on_method_request_received = answer
        # The SDK subscribes to methods in the background. Until it has subscribed, the hub calls the device offline.
        result = when_online(invoke)
        same("the answer", (result.status, result.payload), (207, {"heard": {"delay": 3}, "by": "reboot"}))
        client.shutdown()
    registry.delete_device(name)


def messages(surface, registry):
    """Sends messages with the admin port, purges them, and reads the feedback about them."""
    name = f"{PREFIX}-message"
    registry.create_device_with_sas(name, KEYS[0], KEYS[1], "enabled")
    surface.refused(
        "AMQP, at Azure too; the emulator has no AMQP. `POST /messages/{hub}/{device}` of the admin port sends",
        "AMQPConnectionError", registry.send_c2d_message, name, "hello",
    )
    queue = surface.watch(
        "IoTHubRegistryManager.protocol.cloud_to_device_messages", registry.protocol.cloud_to_device_messages,
        only={"purge_cloud_to_device_message_queue"},
    )
    runtime = surface.watch("IoTHubHttpRuntimeManager", IoTHubHttpRuntimeManager.from_connection_string(OWNER))
    again = runtime.from_connection_string(OWNER)
    for number in range(2):
        admin("POST", f"messages/{HUB}/{name}", {"body": f"m{number}", "messageId": f"m{number}", "ack": "full"})
    same("waiting", registry.get_device(name).cloud_to_device_message_count, 2)
    purged = queue.purge_cloud_to_device_message_queue(name)
    same("purged", (purged.total_messages_purged, purged.device_id), (2, name))
    # The SDK's public call returns neither the feedback nor its lock token. So the program reads the raw response.
    locked = again.protocol.cloud_to_device_messages.receive_feedback_notification(raw=True).response
    same("feedback", locked.status_code, 200)
    records = [it for it in locked.json() if it["deviceId"] == name]
    same("the messages in the feedback", sorted(it["originalMessageId"] for it in records), ["m0", "m1"])
    runtime.abandon_feedback_notification(locked.headers["ETag"].strip('"'))
    locked = again.protocol.cloud_to_device_messages.receive_feedback_notification(raw=True).response
    runtime.complete_feedback_notification(locked.headers["ETag"].strip('"'))
    same("further feedback", runtime.receive_feedback_notification(), None)
    fails("412|Precondition|Not Found", runtime.complete_feedback_notification, "no-such-lock")
    registry.delete_device(name)


def logins(surface, registry):
    """Logins with other policies, wrong keys and Microsoft Entra tokens."""
    again = registry.from_connection_string(os.environ["INTEROP_HUB_REGISTRYREAD"])
    same("whether the policy registryRead can read", isinstance(again.get_devices(1), list), True)
    reader = surface.watch("reader", again, only=set())
    fails("Unauthorized", named(reader.create_device_with_sas), f"{PREFIX}-x", KEYS[0], KEYS[1], "enabled")
    wrong = IoTHubRegistryManager.from_connection_string(OWNER.split("SharedAccessKey=")[0] + "SharedAccessKey=" + KEYS[0])
    fails("Unauthorized", named(wrong.get_devices), 1)
    for class_, request in (
        (IoTHubRegistryManager, lambda it: it.get_devices(1)),
        (IoTHubHttpRuntimeManager, lambda it: it.receive_feedback_notification()),
        (IoTHubConfigurationManager, lambda it: it.get_configurations(1)),
        (IoTHubJobManager, lambda it: it.get_import_export_jobs()),
        (DigitalTwinClient, lambda it: it.get_digital_twin("d1")),
    ):
        surface.refused("Microsoft Entra tokens are not emulated: 401", "Unauthorized", Entra(class_, request))


def not_emulated(surface):
    """Jobs, configurations and digital twins are refused with 501."""
    configurations = surface.watch("IoTHubConfigurationManager", IoTHubConfigurationManager.from_connection_string(OWNER))
    jobs = surface.watch("IoTHubJobManager", IoTHubJobManager.from_connection_string(OWNER))
    digital = surface.watch("DigitalTwinClient", DigitalTwinClient.from_connection_string(OWNER))
    for it in (configurations, jobs, digital):
        it.from_connection_string(OWNER)
    content = ConfigurationContent(device_content={"properties.desired.x": 1})
    one = Configuration(id="c1", schema_version="1.0", content=content, target_condition="*", priority=1)
    why = "configurations are not emulated: 501"
    surface.refused(why, _501, configurations.create_configuration, one)
    surface.refused(why, _501, configurations.update_configuration, one, "*")
    surface.refused(why, _501, configurations.get_configuration, "c1")
    surface.refused(why, _501, configurations.get_configurations, 10)
    surface.refused(why, _501, configurations.delete_configuration, "c1")
    surface.refused(why, _501, configurations.test_configuration_queries, ConfigurationQueriesTestInput(target_condition="*"))
    surface.refused(why, _501, configurations.apply_configuration_on_edge_device, "d1", content)
    why = "jobs are not emulated: 501"
    export = JobProperties(type="export", output_blob_container_uri="https://example.invalid/x")
    surface.refused(why, _501, jobs.create_import_export_job, export)
    surface.refused(why, _501, jobs.get_import_export_jobs)
    surface.refused(why, _501, jobs.get_import_export_job, "j1")
    surface.refused(why, _501, jobs.cancel_import_export_job, "j1")
    request = JobRequest(job_id="j1", type="scheduleUpdateTwin", query_condition="*")
    surface.refused(why, _501, jobs.create_scheduled_job, "j1", request)
    surface.refused(why, _501, jobs.get_scheduled_job, "j1")
    surface.refused(why, _501, jobs.cancel_scheduled_job, "j1")
    surface.refused(why, _501, jobs.query_scheduled_jobs, "scheduleUpdateTwin", "queued")
    why = "digital twins are not emulated: 501; `get_twin` and `invoke_device_method` reach the same device"
    surface.refused(why, _501, digital.get_digital_twin, "d1")
    surface.refused(why, _501, digital.update_digital_twin, "d1", [{"op": "add", "path": "/x", "value": 1}])
    surface.refused(why, _501, digital.invoke_command, "d1", "reboot", "{}")
    surface.refused(why, _501, digital.invoke_component_command, "d1", "fan", "reboot", "{}")


_501 = "501|Not Implemented"


class Entra:
    """Creates a client with a Microsoft Entra credential, and sends a request with it."""

    def __init__(self, class_, request):
        self.name = f"{class_.__name__}.from_token_credential"
        self._class, self._request = class_, request

    def __call__(self):
        return self._request(self._class.from_token_credential(HUB, self))

    def get_token(self, *_scopes, **_named):
        return AccessToken("not-a-real-token", int(time.time()) + 3600)


def named(call):
    """Gives a name to a call of an object that is not watched. The error of `fails` contains this name."""
    def run(*arguments, **more):
        return call(*arguments, **more)

    run.name = getattr(call, "__name__", "call")
    return run


def keys_of(identity):
    keys = identity.authentication.symmetric_key
    return keys.primary_key, keys.secondary_key


def thumbprints_of(identity):
    """The type of the authentication and both thumbprints."""
    thumbprints = identity.authentication.x509_thumbprint
    both = (thumbprints.primary_thumbprint, thumbprints.secondary_thumbprint) if thumbprints else (None, None)
    return identity.authentication.type, *both


def desired(properties):
    return Twin(properties=TwinProperties(desired=properties))


def plain(properties):
    """Returns the properties without the service's own properties, whose names begin with `$`."""
    return {name: value for name, value in properties.items() if not name.startswith("$")}


def when_online(invoke):
    until = time.monotonic() + 20
    while True:
        try:
            return invoke()
        except Exception as error:
            if "Not Found" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.1)


def admin(method, path, body):
    request = urllib.request.Request(f"{os.environ['INTEROP_ADMIN']}/{path}", json.dumps(body).encode(), method=method)
    request.add_header("Content-Type", "application/json")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return json.load(answer)


if __name__ == "__main__":
    # At the time limit, prints the stack of each thread and exits.
    faulthandler.dump_traceback_later(float(os.environ["INTEROP_TIME_LIMIT"]), exit=True)
    main()
