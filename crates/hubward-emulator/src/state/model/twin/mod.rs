//! Twins of a hub. A twin has tags, desired and reported properties with their versions, and metadata about changes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hubward_proto::ProtoError;
use hubward_proto::hub::{Properties, Twin as DeviceTwin, twin};
use hubward_proto::limits::{TWIN_PROPERTIES_MAX, TWIN_TAGS_MAX};
use hubward_proto::service::InitialTwin;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::state::clock::NEVER;

const TAGS: Limit = Limit { what: TAGS_NAME, limit: TWIN_TAGS_MAX };
const DESIRED: Limit = Limit { what: "Properties.Desired", limit: TWIN_PROPERTIES_MAX };
const REPORTED: Limit = Limit { what: "Properties.Reported", limit: TWIN_PROPERTIES_MAX };

/// The name of the tags in [`ProtoError::TooLarge`].
pub(crate) const TAGS_NAME: &str = "Tags";

/// The twin of a device or module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Twin {
    /// Increases with every change.
    version: u64,
    /// Increases with every change by the service side.
    changes: u64,
    tags: Map<String, Value>,
    desired: Section,
    reported: Section,
}

/// Desired or reported properties.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Section {
    #[serde(with = "super::serial::properties")]
    properties: Properties,
    metadata: Map<String, Value>,
    /// Whether the metadata contain the version of each change. This is `true` only for desired properties.
    versions: bool,
}

/// The values of a twin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) tags: Map<String, Value>,
    pub(crate) desired: Map<String, Value>,
    pub(crate) reported: Map<String, Value>,
}

/// A change of tags or desired properties.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// Merges the values. `null` removes a property. Properties that the patch does not name do not change.
    Merge(Map<String, Value>),
    /// Replaces the values. A property that the new values do not contain is removed.
    Replace(Map<String, Value>),
}

/// The notification about a change of desired properties. The hub sends it to a device that has subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) version: u64,
    /// A patch with `$version`. The body is a patch even if a client has replaced all properties.
    pub(crate) body: Bytes,
}

impl Twin {
    /// Creates the twin of a new device. The desired properties and the reported properties begin with version 1.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-identity-registry.md, lifecycle example; `[seen]` recordings of
    /// azure-sdk-for-net. `[guess]`: the initial twin of an enrollment does not count as a change, as for devices that
    /// are created together with their twins.
    pub(crate) fn new(initial: Option<&InitialTwin>, now: &str) -> Self {
        let part = |values: Option<&Map<String, Value>>| {
            let mut result = Map::new();
            values.into_iter().for_each(|it| twin::merge(&mut result, it));
            result
        };
        let tags = part(initial.map(|it| &it.tags));
        let mut desired = part(initial.map(|it| &it.properties.desired));
        // Remove `$metadata` and `$version`. The initial twin may contain these names if a client has copied it from
        // the service.
        desired.retain(|name, _| !name.starts_with('$'));
        let (desired, reported) = (Section::new(desired, true, now), Section::new(Map::new(), false, now));
        Self { version: 2, changes: 1, tags, desired, reported }
    }

    /// Creates the twin of a device if one request creates the device together with its twin. Omits `null` values.
    ///
    /// In the metadata, the last change of the desired properties is in the year 1, which means that they never
    /// changed.
    ///
    /// Source: `[seen]` recordings of azure-sdk-for-net, `DevicesClient_BulkCreation_DeviceWithTwin`.
    pub(crate) fn first(
        tags: &Map<String, Value>,
        desired: &Map<String, Value>,
        now: &str,
    ) -> Result<Self, ProtoError> {
        let part = |values: &Map<String, Value>, limit| Change::Merge(values.clone()).apply(&Map::new(), limit);
        let (tags, desired) = (part(tags, TAGS)?, part(desired, DESIRED)?);
        let (desired, reported) = (Section::new(desired, true, NEVER), Section::new(Map::new(), false, now));
        Ok(Self { version: 2, changes: 1, tags, desired, reported })
    }

    /// Creates the twin of a new device with these values. The values may not contain `null`.
    pub(crate) fn of(parts: &Parts, now: &str) -> Result<Self, ProtoError> {
        let mut twin = Self::new(None, now);
        twin.replace(parts, now)?;
        let section = |values: &Map<String, Value>, versions| Section::new(values.clone(), versions, now);
        (twin.version, twin.changes) = (2, 1);
        twin.desired = section(&parts.desired, true);
        twin.reported = section(&parts.reported, false);
        Ok(twin)
    }

    /// Replaces the whole twin as one change.
    pub(crate) fn replace(&mut self, parts: &Parts, now: &str) -> Result<(), ProtoError> {
        let all = |values: &Map<String, Value>| Change::Replace(values.clone());
        let tags = all(&parts.tags).apply(&self.tags, TAGS)?;
        let desired = self.desired.changed(&all(&parts.desired), now)?;
        let reported = self.reported.changed(&all(&parts.reported), now)?;
        (self.tags, self.desired, self.reported) = (tags, desired, reported);
        self.version += 1;
        self.changes += 1;
        Ok(())
    }

    /// The values without versions and metadata.
    pub(crate) fn parts(&self) -> Parts {
        Parts {
            tags: self.tags.clone(),
            desired: self.desired.properties.values.clone(),
            reported: self.reported.properties.values.clone(),
        }
    }

    /// Merges a patch by the device into its reported properties. Returns the new version of the reported properties.
    pub(crate) fn report(&mut self, patch: &Map<String, Value>, now: &str) -> Result<u64, ProtoError> {
        let reported = self.reported.changed(&Change::Merge(patch.clone()), now)?;
        self.reported = reported;
        self.version += 1;
        Ok(self.reported.properties.version)
    }

    /// Applies a change by a service client to the tags, the desired properties, or both. If the desired properties
    /// change, returns the notification for the device.
    pub(crate) fn update(
        &mut self,
        tags: Option<&Change>,
        desired: Option<&Change>,
        now: &str,
    ) -> Result<Option<Notice>, ProtoError> {
        let tags = tags.map(|it| it.apply(&self.tags, TAGS)).transpose()?;
        let changed = desired.map(|it| self.desired.changed(it, now)).transpose()?;
        let notified = desired.zip(changed.as_ref()).map(|(change, after)| match change {
            Change::Merge(patch) => patch.clone(),
            Change::Replace(_) => replacement(&self.desired.properties.values, &after.properties.values),
        });
        self.version += 1;
        self.changes += 1;
        if let Some(tags) = tags {
            self.tags = tags;
        }
        let (Some(section), Some(patch)) = (changed, notified) else { return Ok(None) };
        self.desired = section;
        let version = self.desired.properties.version;
        let body = Properties::new(version, patch).to_wire();
        Ok(Some(Notice { version, body: body.to_string().into() }))
    }

    /// The response to a device's twin request.
    pub(crate) fn for_device(&self) -> Vec<u8> {
        let mut twin = DeviceTwin::default();
        twin.desired = self.desired.properties.clone();
        twin.reported = self.reported.properties.clone();
        twin.encode()
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    pub(crate) const fn tags(&self) -> &Map<String, Value> {
        &self.tags
    }

    pub(crate) const fn desired(&self) -> &Properties {
        &self.desired.properties
    }

    pub(crate) const fn reported(&self) -> &Properties {
        &self.reported.properties
    }

    /// `{"desired": {…, "$metadata": {…}, "$version": 2}, "reported": {…}}`.
    pub(crate) fn properties(&self) -> Value {
        json!({ "desired": self.desired.shown(), "reported": self.reported.shown() })
    }

    /// Version of tags and desired properties.
    ///
    /// Source: `[doc]` examples such as `AAAAAAAAAAE=`; `[seen]` recordings of azure-sdk-for-net: the encoded number is
    /// a counter.
    pub(crate) fn etag(&self) -> String {
        STANDARD.encode(self.changes.to_be_bytes())
    }
}

/// Returns the patch that turns the properties `before` into `after`. The patch contains all new properties, and `null`
/// for each removed property.
///
/// Source: `[sdk]` Azure/azure-iot-sdk-csharp, issue 954: developers of the hub say that a device receives `null` for
/// each property that a `PUT` omits. `[guess]`: the device also receives `null` in nested objects.
fn replacement(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = after.clone();
    for (name, old) in before {
        match (old, after.get(name)) {
            (_, None) => patch.insert(name.clone(), Value::Null),
            (Value::Object(old), Some(Value::Object(new))) => patch.insert(name.clone(), replacement(old, new).into()),
            _ => None,
        };
    }
    patch
}

impl Section {
    /// Creates a section with version 1.
    fn new(values: Map<String, Value>, versions: bool, now: &str) -> Self {
        let mut metadata = Map::new();
        touch(&mut metadata, &values, &values, &stamp(now, versions.then_some(1)));
        Self { properties: Properties::new(1, values), metadata, versions }
    }

    fn changed(&self, change: &Change, now: &str) -> Result<Self, ProtoError> {
        let limit = if self.versions { DESIRED } else { REPORTED };
        let values = change.apply(&self.properties.values, limit)?;
        let version = self.properties.version + 1;
        let stamp = stamp(now, self.versions.then_some(version));
        let (mut metadata, patch) = match change {
            Change::Merge(patch) => (self.metadata.clone(), patch),
            Change::Replace(all) => (Map::new(), all),
        };
        touch(&mut metadata, patch, &values, &stamp);
        Ok(Self { properties: Properties::new(version, values), metadata, versions: self.versions })
    }

    fn shown(&self) -> Value {
        let mut shown = self.properties.to_wire();
        shown["$metadata"] = Value::Object(self.metadata.clone());
        shown
    }
}

impl Change {
    /// Returns the values after the change. Returns an error if the values break a rule.
    fn apply(&self, values: &Map<String, Value>, limit: Limit) -> Result<Map<String, Value>, ProtoError> {
        let (mut result, patch) = match self {
            Self::Merge(patch) => (values.clone(), patch),
            Self::Replace(all) => (Map::new(), all),
        };
        if matches!(self, Self::Replace(_)) {
            no_null(patch)?;
        }
        // Limit the size of the result, not the size of the patch. The patch may be larger than the result, because the
        // patch also contains the names of removed properties.
        twin::check(patch, usize::MAX)?;
        twin::merge(&mut result, patch);
        let (Limit { what, limit }, size) = (limit, twin::size(&result));
        if size > limit { Err(ProtoError::TooLarge { what, size, limit }) } else { Ok(result) }
    }
}

/// The maximum size of a section.
#[derive(Debug, Clone, Copy)]
struct Limit {
    /// The name of the section in the hub's error messages.
    what: &'static str,
    /// Maximum size in bytes.
    limit: usize,
}

/// Returns an error if a replacement contains `null`. In a patch, `null` removes a property. In a replacement, `null`
/// has no meaning.
///
/// Source: `[seen]` Azure/azure-iot-cli-extension, issue 693: 400, ArgumentInvalid. For `null` in arrays: seen by
/// mwalser/terraform-provider-iothub, CONCEPT.md.
fn no_null(values: &Map<String, Value>) -> Result<(), ProtoError> {
    fn check(name: &str, value: &Value) -> Result<(), ProtoError> {
        match value {
            Value::Null => {
                Err(ProtoError::Property { path: name.to_owned(), rule: "a replacement may not contain null" })
            }
            Value::Object(values) => no_null(values),
            Value::Array(values) => values.iter().try_for_each(|it| check(name, it)),
            _ => Ok(()),
        }
    }
    values.iter().try_for_each(|(name, value)| check(name, value))
}

/// The metadata of a value that has changed.
fn stamp(now: &str, version: Option<u64>) -> Map<String, Value> {
    let mut stamp = Map::from_iter([("$lastUpdated".to_owned(), Value::from(now))]);
    if let Some(version) = version {
        stamp.insert("$lastUpdatedVersion".to_owned(), version.into());
    }
    stamp
}

/// Updates the metadata of an object after a patch. `values` contains the values of the object after the patch.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Device twin metadata": every level has metadata; an array
/// counts as one value.
fn touch(
    metadata: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    values: &Map<String, Value>,
    stamp: &Map<String, Value>,
) {
    metadata.extend(stamp.clone());
    for (name, change) in patch {
        match (change, values.get(name)) {
            (_, None) => {
                metadata.remove(name);
            }
            (Value::Object(change), Some(Value::Object(values))) => {
                let below = metadata.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(below) = below {
                    touch(below, change, values, stamp);
                }
            }
            (_, Some(_)) => {
                metadata.insert(name.clone(), Value::Object(stamp.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
