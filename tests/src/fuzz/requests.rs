//! Parses requests to the service APIs: twin queries and headers.

use hubward_emulator::fuzzing;
use serde_json::{Value, json};

use super::text;

/// Queries.
pub(super) fn queries(bytes: &[u8]) -> bool {
    text(bytes).and_then(|it| fuzzing::query(it, &twin())).is_some()
}

/// The input has one header value per line, in this order: If-Match, page size, continuation.
pub(super) fn page_headers(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|it| *it == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    fuzzing::headers(line(), line(), line())
}

fn twin() -> Value {
    json!({
        "deviceId": "d1", "etag": "AAAAAAAAAAE=", "status": "enabled", "connectionState": "Disconnected",
        "version": 2, "capabilities": { "iotEdge": false },
        "tags": { "site": "a", "n": 1.5, "none": null, "list": [1], "on": true },
        "properties": {
            "desired": { "interval": 30, "$version": 2 },
            "reported": { "battery": "42", "deep": { "er": "x" }, "$version": 1 },
        },
    })
}
