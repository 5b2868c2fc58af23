//! The configuration of the image: it says which program a container engine starts, as which user, and with which
//! variables.

use serde_json::{Value, json};

/// The path of the program in the image.
pub(super) const PROGRAM: &str = "/usr/bin/hubward";

/// The data directory in the image.
pub(super) const DATA: &str = "/data";

/// The numeric id of the user and of the group of the emulator in the image. The image has no names for them.
pub(super) const USER: &str = "65532";

/// The variables of the emulator, as in `dist/Dockerfile`.
const VARIABLES: [(&str, &str); 6] = [
    ("HUBWARD_DATA_DIR", DATA),
    ("HUBWARD_BIND", "0.0.0.0"),
    ("HUBWARD_STANDARD_PORTS", "true"),
    ("HUBWARD_ADMIN_ADDRESS", "0.0.0.0"),
    ("HUBWARD_RETRY_AFTER", "1s"),
    ("HUBWARD_OUTPUT", "json"),
];

/// The ports of the emulator in the image, as in `dist/Dockerfile`.
const PORTS: [&str; 3] = ["443", "8883", "8480"];

/// Nanoseconds per second: the unit of Docker's health check.
const SECOND: u64 = 1_000_000_000;

/// Returns the configuration of the image. `layer` is the digest of the layer before its compression.
pub(super) fn config(version: &str, created: &str, layer: &str) -> Value {
    let variables = VARIABLES.iter().map(|(name, value)| format!("{name}={value}"));
    let ports: serde_json::Map<String, Value> = PORTS.iter().map(|it| (format!("{it}/tcp"), json!({}))).collect();
    json!({
        "created": created,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": format!("{USER}:{USER}"),
            "Env": std::iter::once("PATH=/usr/bin".to_owned()).chain(variables).collect::<Vec<_>>(),
            "Entrypoint": [PROGRAM, "emulator"],
            "ExposedPorts": ports,
            "Volumes": {DATA: {}},
            "WorkingDir": "/",
            "StopSignal": "SIGTERM",
            // The OCI specification does not define this field, but Docker and podman read it.
            "Healthcheck": {
                "Test": ["CMD", PROGRAM, "emulator", "status", "--output", "text"],
                "Interval": 2 * SECOND,
                "Timeout": 2 * SECOND,
                "Retries": 15,
            },
            "Labels": {
                "org.opencontainers.image.title": "hubward emulator",
                "org.opencontainers.image.description": "A local Azure DPS and IoT Hub; not a Microsoft product",
                "org.opencontainers.image.version": version,
                "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
        "history": [{"created": created, "created_by": "cargo xtask dist"}],
    })
}

/// The architecture of this machine, with the name that OCI uses.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Dockerfile builds the same image with a container engine.
    #[test]
    fn the_image_has_the_settings_of_the_dockerfile() {
        let dockerfile = include_str!("../../../../dist/Dockerfile");
        let config = config("0.1.0", "2026-01-01T00:00:00Z", "sha256:0");
        let config = &config["config"];
        for (name, value) in VARIABLES {
            assert!(dockerfile.contains(&format!("{name}={value}")), "{name}");
            let variable = Value::from(format!("{name}={value}"));
            assert!(config["Env"].as_array().is_some_and(|it| it.contains(&variable)), "{name}");
        }
        assert_eq!(dockerfile.matches("HUBWARD_").count(), VARIABLES.len(), "the Dockerfile sets another variable");
        assert!(dockerfile.contains(&format!("EXPOSE {}\n", PORTS.join(" "))));
        assert!(dockerfile.contains(&format!("STOPSIGNAL {}\n", config["StopSignal"].as_str().expect("a name"))));
        assert!(dockerfile.contains(&format!("VOLUME {DATA}\n")));
        assert!(dockerfile.contains("ENTRYPOINT [\"hubward\", \"emulator\"]"));
        assert!(dockerfile.contains("CMD [\"hubward\", \"emulator\", \"status\", \"--output\", \"text\"]"));
    }
}
