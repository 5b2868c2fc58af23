//! CONNECTs that a hub accepts and refuses.

use hubward_sas::{SasToken, SharedKey};

use super::*;
use crate::state::model::{Device, KeyPair, Policy, hub_policy, set_policy_keys};

const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

fn world() -> (State, KeyPair) {
    let mut state = State::new(["hub.example"]);
    let keys = KeyPair::generate().expect("keys");
    let device = |enabled| Device { enabled, ..Device::with_keys(keys.clone(), std::time::SystemTime::UNIX_EPOCH) };
    let devices = &mut state.hubs.get_mut("hub.example").expect("the hub").devices;
    devices.insert("d1".into(), device(true));
    devices.insert("off".into(), device(false));
    devices.insert("off/m1".into(), device(true));
    devices.insert(
        "d1/m1".into(),
        Device::with_keys(KeyPair::generate().expect("keys"), std::time::SystemTime::UNIX_EPOCH),
    );
    (state, keys)
}

fn authority() -> CredentialAuthority {
    CredentialAuthority::generate().expect("an authority")
}

fn check(state: &State, connect: &Connect, now: UnixSeconds) -> Result<Login, &'static str> {
    super::check(state, &authority(), connect, None, now).map(|it| it.login)
}

fn token(key: &SharedKey, resource: &str) -> SasToken {
    SasToken::sign(key, resource, NOW, None)
}

fn connect(client_id: &str, username: &str, token: &SasToken) -> Connect {
    Connect {
        client_id: client_id.into(),
        clean_session: true,
        keep_alive: 60,
        will: None,
        username: Some(username.into()),
        password: Some(token.expose().to_owned().into()),
    }
}

#[test]
fn every_form_that_the_sdks_send_is_accepted() {
    let (state, keys) = world();
    for username in [
        "hub.example/d1/?api-version=2021-04-12",
        "hub.example/d1/?api-version=2019-10-01&DeviceClientType=azure-iot-device%2F2.14.0",
        "hub.example/d1/api-version=2016-11-14",
        "HUB.example/d1/?api-version=2021-04-12",
        "hub.example/d1",
    ] {
        for key in [&keys.primary, &keys.secondary] {
            let token = token(key, "hub.example/devices/d1");
            let login = check(&state, &connect("d1", username, &token), NOW).expect(username);
            assert_eq!((login.hub.as_str(), login.expiry), ("hub.example", Some(NOW)));
        }
    }
    let old = token(&keys.primary, "hub.example/devices/d1");
    let just = NOW.saturating_add(std::time::Duration::from_secs(290));
    assert!(check(&state, &connect("d1", "hub.example/d1", &old), just).is_ok(), "within the grace");
}

#[test]
fn everything_else_is_refused() {
    let (state, keys) = world();
    let name = "hub.example/d1/?api-version=2021-04-12";
    let good = token(&keys.primary, "hub.example/devices/d1");
    let policy = SasToken::sign(&keys.primary, "hub.example/devices/d1", NOW, Some("device"));
    let wrong_key = token(&SharedKey::generate().expect("a key"), "hub.example/devices/d1");
    let mut nameless = connect("d1", name, &good);
    nameless.username = None;
    let mut tokenless = connect("d1", name, &good);
    tokenless.password = None;
    let mut garbage = connect("d1", name, &good);
    garbage.password = Some("secret".into());
    for (connect, why) in [
        (nameless, "no user name"),
        (tokenless, "neither a SAS token nor a client certificate"),
        (garbage, "the SAS token cannot be read"),
        (connect("d1", "hub.example", &good), "the user name cannot be read"),
        (connect("d1", "hub.example/d1/?DeviceClientType=x", &good), "the user name cannot be read"),
        (connect("d2", name, &good), "the client id is not that of the user name"),
        (connect("D1", name, &good), "the client id is not that of the user name"),
        (connect("d1/m1", name, &good), "the client id is not that of the user name"),
        (connect("d1", "other.example/d1/?api-version=1", &good), "no hub of this name"),
        (connect("d1", name, &wrong_key), "bad signature"),
        (connect("d1", name, &policy), "bad signature"),
        (connect("d1", name, &token(&keys.primary, "hub.example/devices/d2")), "the token is for another resource"),
        (connect("d1", name, &token(&keys.primary, "hub.example")), "the token is for another resource"),
        (
            connect("d2", "hub.example/d2/?api-version=1", &token(&keys.primary, "hub.example/devices/d2")),
            "no device of this id",
        ),
        (
            connect("off", "hub.example/off/?api-version=1", &token(&keys.primary, "hub.example/devices/off")),
            "the device is disabled",
        ),
    ] {
        assert_eq!(check(&state, &connect, NOW).expect_err(why), why);
    }
    let late = NOW.saturating_add(std::time::Duration::from_secs(301));
    assert_eq!(check(&state, &connect("d1", name, &good), late).expect_err("old"), "the token has expired");
}

#[test]
fn a_will_is_telemetry_of_this_device() {
    let (state, keys) = world();
    let good = token(&keys.primary, "hub.example/devices/d1");
    let with_will = |topic: &str, qos, retain| {
        let mut connect = connect("d1", "hub.example/d1", &good);
        connect.will = Some(Will { topic: topic.into(), body: "gone".into(), qos, retain });
        super::check(&state, &authority(), &connect, None, NOW).map(|it| it.will)
    };
    let will = with_will("devices/d1/messages/events/a=b", 1, true).expect("a will");
    let (message, qos) = will.expect("a will");
    let properties: Vec<_> = message.properties().collect();
    assert_eq!(properties, [("a", Some("b")), (RETAIN, Some("true")), ("iothub-MessageType", Some("Will"))]);
    assert_eq!((&message.body[..], qos), (&b"gone"[..], 1));
    for (topic, qos) in [
        ("devices/d2/messages/events/", 1),
        ("$iothub/twin/GET/?$rid=1", 1),
        ("devices/d1/messages/events/=b", 1),
        ("devices/d1/messages/events/", 2),
    ] {
        assert!(with_will(topic, qos, false).is_err(), "{topic} {qos}");
    }
}

#[test]
fn a_module_needs_its_own_key() {
    let (state, device_keys) = world();
    let module_keys = state.device("hub.example", "d1/m1").expect("the module").keys().clone();
    let name = "hub.example/d1/m1/?api-version=2021-04-12";
    let resource = "hub.example/devices/d1/modules/m1";
    let good = token(&module_keys.primary, resource);
    let login = check(&state, &connect("d1/m1", name, &good), NOW).expect("a module");
    assert_eq!(login.identity.client_id(), "d1/m1");
    assert_eq!((login.origin.module_id.as_deref(), login.origin.scope), (Some("m1"), "module"));
    for (client_id, name, token, why) in [
        ("d1", name, good.clone(), "the client id is not that of the user name"),
        ("d1/m1", name, token(&device_keys.primary, resource), "bad signature"),
        ("d1/m1", name, token(&module_keys.primary, "hub.example/devices/d1"), "the token is for another resource"),
        ("d1", "hub.example/d1", token(&module_keys.primary, "hub.example/devices/d1"), "bad signature"),
        (
            "d1/m2",
            "hub.example/d1/m2/?api-version=1",
            token(&module_keys.primary, "hub.example/devices/d1/modules/m2"),
            "the device has no module of this id",
        ),
        (
            "d2/m1",
            "hub.example/d2/m1/?api-version=1",
            token(&module_keys.primary, "hub.example/devices/d2/modules/m1"),
            "no device of this id",
        ),
        (
            "off/m1",
            "hub.example/off/m1/?api-version=1",
            token(&device_keys.primary, "hub.example/devices/off/modules/m1"),
            "the device is disabled",
        ),
    ] {
        assert_eq!(check(&state, &connect(client_id, name, &token), NOW).expect_err(why), why);
    }
}

#[test]
fn a_token_of_a_policy_connects_every_device() {
    let (mut state, keys) = world();
    let policy_key = SharedKey::generate().expect("a key");
    for policy in Policy::ALL {
        set_policy_keys(&mut state.policies, hub_policy("hub.example", policy), (Some(&policy_key), None))
            .expect("keys");
    }
    let secondary = state.policies.get("hub.example/device").expect("the policy").secondary.clone();
    let signed = |key: &SharedKey, resource: &str, policy: &str| SasToken::sign(key, resource, NOW, Some(policy));
    let device = "hub.example/devices/d1";
    for (token, expected) in [
        (signed(&policy_key, device, "device"), Ok("hub")),
        (signed(&policy_key, "hub.example", "iothubowner"), Ok("hub")),
        (signed(&secondary, "hub.example", "device"), Ok("hub")),
        (signed(&secondary, "hub.example", "iothubowner"), Err("bad signature")),
        (signed(&policy_key, "hub.example/devices", "device"), Ok("hub")),
        (signed(&policy_key, "hub.example/devices/d2", "device"), Err("the token is for another resource")),
        (signed(&policy_key, device, "service"), Err("the token's policy does not exist or may not connect devices")),
        (signed(&keys.primary, device, "device"), Err("bad signature")),
        (signed(&policy_key, device, ""), Err("bad signature")),
    ] {
        let login = check(&state, &connect("d1", "hub.example/d1", &token), NOW);
        assert_eq!(login.map(|it| it.origin.scope), expected, "{token:?}");
    }
    let module = signed(&policy_key, "hub.example/devices/d1/modules/m1", "device");
    assert!(check(&state, &connect("d1/m1", "hub.example/d1/m1/?api-version=1", &module), NOW).is_ok());
    let unknown = signed(&policy_key, "hub.example/devices/d2", "device");
    let refusal = check(&state, &connect("d2", "hub.example/d2", &unknown), NOW).expect_err("unknown");
    assert_eq!(refusal, "no device of this id");
}

#[test]
fn the_model_id_of_the_user_name_is_kept() {
    let (state, keys) = world();
    let good = token(&keys.primary, "hub.example/devices/d1");
    let name = "hub.example/d1/?api-version=2020-09-30&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1";
    let login = check(&state, &connect("d1", name, &good), NOW).expect("a device");
    assert_eq!(login.origin.model_id.as_deref(), Some("dtmi:com:example:Thermostat;1"));
    let generation = &state.device("hub.example", "d1").expect("the device").generation_id;
    assert_eq!((&login.origin.generation_id, login.origin.scope), (generation, "device"));
}
