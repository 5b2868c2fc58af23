//! The header `If-Match` in its different forms.

use http::header::{HeaderMap, IF_MATCH};

/// The version that the object of a request must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// The header is absent.
    Absent,
    /// `*`
    Any,
    /// This ETag, without quotes.
    Etag(String),
}

impl IfMatch {
    /// Parses the header. Some SDKs put quotes around an ETag, and some put quotes around `*`.
    ///
    /// Source: `[sdk]` azure-iot-sdk-node and azure-iot-sdk-csharp, service clients. `[seen]` recordings of
    /// azure-sdk-for-net: the value `""` counts as an absent header.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Unreadable> {
        let mut values = headers.get_all(IF_MATCH).iter();
        let Some(first) = values.next() else { return Ok(Self::Absent) };
        let (Ok(text), None) = (first.to_str(), values.next()) else {
            return Err(Unreadable);
        };
        Ok(Self::parse(text))
    }

    /// Parses the value of the header, or an ETag in a body.
    pub(super) fn parse(text: &str) -> Self {
        match bare(text.trim()) {
            "*" => Self::Any,
            "" => Self::Absent,
            etag => Self::Etag(etag.to_owned()),
        }
    }

    /// Whether the object has the required ETag.
    pub(super) fn fits(&self, etag: Option<&str>) -> bool {
        match self {
            Self::Etag(wanted) => etag.map(bare) == Some(wanted),
            Self::Absent | Self::Any => true,
        }
    }
}

/// The request has several `If-Match` headers, or the value of the header is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

impl Unreadable {
    pub(super) const MESSAGE: &str = "The request must have only one If-Match header, as text.";
}

fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn parses_if_match_with_and_without_quotes() {
        for (text, expected) in [
            ("*", IfMatch::Any),
            ("\"*\"", IfMatch::Any),
            ("\"4f00-00\"", IfMatch::Etag("4f00-00".into())),
            ("4f00-00", IfMatch::Etag("4f00-00".into())),
            ("", IfMatch::Absent),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, HeaderValue::from_static(text));
            assert_eq!(IfMatch::read(&headers), Ok(expected), "{text}");
        }
        let etag = IfMatch::Etag("4f00-00".into());
        assert!(etag.fits(Some("\"4f00-00\"")));
        assert!(!etag.fits(Some("\"4f00-01\"")));
        assert!(!etag.fits(None));
        assert!(IfMatch::Any.fits(Some("\"x\"")));
    }
}
