"""Makes every call of the service API of DPS in Microsoft's unmodified package `azure-iot-deviceprovisioning`.

INTEROP_DPS is the connection string of the shared access policy. INTEROP_CERTIFICATES lists the files of certificates.
Devices register at PROVISIONING_HOST with the ID scope PROVISIONING_IDSCOPE.
"""

import asyncio
import base64
import faulthandler
import hashlib
import hmac
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from azure.core.exceptions import HttpResponseError
from azure.iot.deviceprovisioning import DeviceProvisioningClient
from azure.iot.device import X509
from azure.iot.device.aio import ProvisioningDeviceClient
from surface import Surface, same

PREFIX = "service-python"
CERTIFICATES = json.loads(os.environ["INTEROP_CERTIFICATES"])
# The members of `info`, which DPS reads from a certificate.
INFO = {
    "subjectName", "sha1Thumbprint", "sha256Thumbprint", "issuerName", "notBeforeUtc", "notAfterUtc", "serialNumber",
    "version",
}


def main():
    surface = Surface()
    client = DeviceProvisioningClient.from_connection_string(os.environ["INTEROP_DPS"])
    enrollments = surface.watch("enrollment", client.enrollment)
    groups = surface.watch("enrollment_group", client.enrollment_group)
    records = surface.watch("device_registration_state", client.device_registration_state)

    # Run the parts at the same time. A registration mostly waits.
    with ThreadPoolExecutor() as pool:
        parts = [
            pool.submit(individual, enrollments, records),
            pool.submit(group, groups, records),
            pool.submit(individual_with_certificate, enrollments),
            pool.submit(groups_with_certificates, groups, records),
            pool.submit(bulk, enrollments, "registrationId", "enrollments", "enrollments"),
            pool.submit(bulk, groups, "enrollmentGroupId", "enrollmentGroups", "enrollmentGroups"),
            pool.submit(wrong_credentials),
        ]
        for part in parts:
            part.result()
    surface.report()


def individual(enrollments, records):
    """Creates an individual enrollment and registers a device. Then changes the keys, disables and deletes it."""
    name = f"{PREFIX}-1"
    body = {
        "registrationId": name, "deviceId": f"{name}-device", "attestation": {"type": "symmetricKey"},
        "capabilities": {"iotEdge": False}, "provisioningStatus": "enabled",
        "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": True},
        "allocationPolicy": "static", "iotHubs": ["localhost"],
        "initialTwin": {"tags": {"site": "a"}, "properties": {"desired": {"interval": 30}}},
        "optionalDeviceInformation": {"note": "é"},
    }
    created = enrollments.create_or_update(name, body)
    key = created["attestation"]["symmetricKey"]["primaryKey"]
    same("a generated key", len(base64.b64decode(key)), 64)
    for member in body:
        if member != "attestation":
            same(member, created[member], body[member])

    shown = enrollments.get(name)
    same("the keys of a read enrollment", shown["attestation"].get("symmetricKey"), None)
    mechanism = enrollments.get_attestation_mechanism(name)
    same("the attestation", mechanism, created["attestation"])
    same("creating it again", status(enrollments.create_or_update, name, body), 409)

    same("the device id", register(name, key).device_id, f"{name}-device")
    state = enrollments.get(name)["registrationState"]
    same("the registration state", (state["status"], state["assignedHub"]), ("assigned", "localhost"))
    same("the record", records.get(name)["etag"], state["etag"])

    # The update moves the old primary key to the secondary key, and sets a new primary key. A device can now register
    # with the new key.
    keys = mechanism["symmetricKey"]
    swapped = {"primaryKey": base64.b64encode(os.urandom(32)).decode(), "secondaryKey": keys["primaryKey"]}
    changed = dict(shown, attestation={"type": "symmetricKey", "symmetricKey": swapped})
    same("a stale etag", status(enrollments.create_or_update, name, changed, if_match='"stale"'), 412)
    updated = enrollments.create_or_update(name, changed, if_match=shown["etag"])
    same("the new keys", updated["attestation"]["symmetricKey"], swapped)
    register(name, swapped["primaryKey"])
    refused_device(name, keys["secondaryKey"])

    found = [it["registrationId"] for it in enrollments.query({"query": "SELECT *"})]
    same("matches of the query", [it for it in found if it == name], [name])
    disabled = dict(updated, provisioningStatus="disabled")
    enrollments.create_or_update(name, disabled, if_match="*")
    refused_device(name, swapped["primaryKey"])

    same("a stale etag", status(enrollments.delete, name, if_match="stale"), 412)
    enrollments.delete(name, if_match="*")
    same("a deleted enrollment", status(enrollments.get, name), 404)
    # The registration record exists until the program deletes it.
    records.delete(name, if_match=records.get(name)["etag"])
    same("a deleted record", status(records.get, name), 404)


def group(groups, records):
    """An enrollment group: devices register with derived keys, and the group lists their registration records."""
    name = f"{PREFIX}-group"
    created = groups.create_or_update(name, {
        "enrollmentGroupId": name, "attestation": {"type": "symmetricKey"}, "allocationPolicy": "hashed",
    })
    same("the keys of a read enrollment", groups.get(name)["attestation"].get("symmetricKey"), None)
    same("the attestation", groups.get_attestation_mechanism(name), created["attestation"])
    key = base64.b64decode(created["attestation"]["symmetricKey"]["secondaryKey"])
    devices = [f"{name}-{number}" for number in range(3)]
    asyncio.run(_register_all(
        (device, base64.b64encode(hmac.new(key, device.encode(), hashlib.sha256).digest()).decode())
        for device in devices
    ))
    same("its devices, in pages of two", [it["registrationId"] for it in records.query(name, top=2)], devices)
    same("whether the query finds the group", name in [it["enrollmentGroupId"] for it in groups.query({"query": "SELECT *"})], True)
    groups.create_or_update(name, dict(groups.get(name), provisioningStatus="disabled"), if_match="*")
    same("its status", groups.get(name)["provisioningStatus"], "disabled")
    groups.delete(name)
    same("a deleted group", status(groups.get, name), 404)


def individual_with_certificate(enrollments):
    """An individual enrollment with a certificate. The operator adds a second certificate, and the device uses it."""
    device, renewed = CERTIFICATES["device"], CERTIFICATES["nextDevice"]
    name = device["id"]
    body = {"registrationId": name, "attestation": x509("clientCertificates", primary=entry(device))}
    created = enrollments.create_or_update(name, body)
    info = created["attestation"]["x509"]["clientCertificates"]["primary"]["info"]
    check_info(info, device, f"CN={name}", f"CN={name}")
    shown = enrollments.get(name)
    same("the read enrollment", shown["attestation"], created["attestation"])
    same("the attestation", enrollments.get_attestation_mechanism(name), created["attestation"])
    register_with_certificate(device)
    refused_certificate(renewed)

    # The tool sends the first certificate back as it has read it, and adds the second one.
    primary = shown["attestation"]["x509"]["clientCertificates"]["primary"]
    both = x509("clientCertificates", primary=primary, secondary=entry(renewed))
    updated = enrollments.create_or_update(name, dict(shown, attestation=both), if_match="*")
    certificates = updated["attestation"]["x509"]["clientCertificates"]
    same("the first certificate", certificates["primary"]["info"], info)
    check_info(certificates["secondary"]["info"], renewed, f"CN={name}", f"CN={name}")
    register_with_certificate(renewed)

    found = [it for it in enrollments.query({"query": "SELECT *"}) if it["registrationId"] == name]
    same("matches of the query", [it["attestation"] for it in found], [updated["attestation"]])
    broken = dict(shown, attestation=x509("clientCertificates", primary={"certificate": "MIIB"}))
    same("a broken certificate", status(enrollments.create_or_update, name, broken, if_match="*"), 400)
    enrollments.delete(name)


def groups_with_certificates(groups, records):
    """A group with a signing certificate, and a group that names a CA certificate of DPS."""
    line, member, authority = CERTIFICATES["line"], CERTIFICATES["member"], CERTIFICATES["authority"]
    name = f"{PREFIX}-signing"
    body = {"enrollmentGroupId": name, "attestation": x509("signingCertificates", primary=entry(line))}
    created = groups.create_or_update(name, body)
    info = created["attestation"]["x509"]["signingCertificates"]["primary"]["info"]
    check_info(info, line, f"CN={Path(line['certificate']).stem}", f"CN={authority}")
    same("the read group", groups.get(name)["attestation"], created["attestation"])
    same("the attestation", groups.get_attestation_mechanism(name), created["attestation"])
    register_with_certificate(member)
    same("its devices", [it["registrationId"] for it in records.query(name)], [member["id"]])
    groups.delete(name)

    name = f"{PREFIX}-reference"
    body = {"enrollmentGroupId": name, "attestation": x509("caReferences", primary=authority)}
    created = groups.create_or_update(name, body)
    same("the reference", created["attestation"]["x509"]["caReferences"]["primary"], authority)
    same("the read group", groups.get(name)["attestation"], created["attestation"])
    unknown = dict(body, attestation=x509("caReferences", primary="no-such-authority"))
    same("an unknown CA certificate", status(groups.create_or_update, name, unknown, if_match="*"), 400)
    groups.delete(name)


def x509(member, **content):
    return {"type": "x509", "x509": {member: content}}


def entry(files):
    """The certificate of a device, without those of its issuers, in the form of the service API."""
    text = Path(files["certificate"]).read_text()
    end = "-----END CERTIFICATE-----"
    return {"certificate": text.partition(end)[0] + end}


def check_info(info, files, subject, issuer):
    same("the members of info", set(info), INFO)
    shown = [info[it] for it in ("subjectName", "issuerName", "sha256Thumbprint", "version")]
    same("info", shown, [subject, issuer, files["sha256"], 3])


def register_with_certificate(files):
    device = ProvisioningDeviceClient.create_from_x509_certificate(
        provisioning_host=os.environ["PROVISIONING_HOST"], id_scope=os.environ["PROVISIONING_IDSCOPE"],
        registration_id=files["id"], x509=X509(files["certificate"], files["key"]),
    )

    async def register_device():
        return await device.register()

    same("a registration", asyncio.run(register_device()).status, "assigned")


def refused_certificate(files):
    try:
        register_with_certificate(files)
    except Exception:
        return
    raise AssertionError(f"the certificate {files['certificate']} was not refused")


def bulk(operations, id_name, list_name, table):
    """Bulk operations and paged queries."""
    names = [f"{PREFIX}-bulk-{number}" for number in range(5)]
    entries = [{id_name: name, "attestation": {"type": "symmetricKey"}} for name in names]
    done = operations.run_bulk_operation({"mode": "create", list_name: entries})
    same("create", (done["isSuccessful"], done["errors"]), (True, []))
    twice = operations.run_bulk_operation({"mode": "create", list_name: entries[:1]})
    same("create an existing entry", (twice["isSuccessful"], twice["errors"][0][id_name]), (False, names[0]))
    query = operations.query({"query": f"SELECT * FROM {table}"}, top=2)
    pages = [[it[id_name] for it in page] for page in query.by_page()]
    same("the size of the largest page", max(len(page) for page in pages), 2)
    found = [name for page in pages for name in page]
    same("the created entries in the query", [name for name in found if name in names], names)
    for mode in ("update", "delete"):
        done = operations.run_bulk_operation({"mode": mode, list_name: entries})
        same(mode, (done["isSuccessful"], done["errors"]), (True, []))
    same("a deleted entry", status(operations.get, names[0]), 404)


def wrong_credentials():
    """DPS refuses a wrong key and a wrong policy."""
    for wrong in (
        os.environ["INTEROP_DPS"].split("SharedAccessKey=")[0] + "SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==",
        os.environ["INTEROP_DPS"].replace("provisioningserviceowner", "unknown"),
    ):
        client = DeviceProvisioningClient.from_connection_string(wrong)
        same("a request with a wrong credential", status(client.enrollment.get, "x"), 401)


def status(call, *arguments, **named):
    """Makes a call that the service refuses. Checks the error code in the body. Returns the HTTP status."""
    try:
        answer = call(*arguments, **named)
    except HttpResponseError as error:
        same("the body's code", error.response.json()["errorCode"] // 1000, error.status_code)
        return error.status_code
    return f"no error; the result is {answer}"


def register(registration_id, key):
    result = asyncio.run(_register(registration_id, key))
    same("a registration", result.status, "assigned")
    return result.registration_state


def refused_device(registration_id, key):
    try:
        asyncio.run(_register(registration_id, key))
    except Exception:
        return
    raise AssertionError(f"{registration_id} was not refused")


async def _register_all(devices):
    await asyncio.gather(*(_register(*device) for device in devices))


async def _register(registration_id, key):
    device = ProvisioningDeviceClient.create_from_symmetric_key(
        provisioning_host=os.environ["PROVISIONING_HOST"], id_scope=os.environ["PROVISIONING_IDSCOPE"],
        registration_id=registration_id, symmetric_key=key,
    )
    return await device.register()


if __name__ == "__main__":
    # At the time limit, prints the stack of each thread and exits.
    faulthandler.dump_traceback_later(float(os.environ["INTEROP_TIME_LIMIT"]), exit=True)
    main()
