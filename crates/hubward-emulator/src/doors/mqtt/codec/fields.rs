//! The fields of a packet, read one after the other.

use bytes::{Buf as _, Bytes};

use super::malformed::Malformed;

/// The unread rest of a packet's variable header and payload.
pub(super) struct Fields(pub(super) Bytes);

impl Fields {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        if self.0.is_empty() { Err(Malformed::Short) } else { Ok(self.0.get_u8()) }
    }

    pub(super) fn number(&mut self) -> Result<u16, Malformed> {
        if self.0.len() < 2 { Err(Malformed::Short) } else { Ok(self.0.get_u16()) }
    }

    /// A packet id, which is never 0.
    pub(super) fn packet_id(&mut self) -> Result<u16, Malformed> {
        match self.number()? {
            0 => Err(Malformed::PacketId),
            id => Ok(id),
        }
    }

    /// Bytes with a length prefix.
    pub(super) fn binary(&mut self) -> Result<Bytes, Malformed> {
        let length = usize::from(self.number()?);
        if self.0.len() < length { Err(Malformed::Short) } else { Ok(self.0.split_to(length)) }
    }

    /// A UTF-8 string without U+0000.
    pub(super) fn string(&mut self) -> Result<String, Malformed> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Malformed::Utf8)?;
        if text.contains('\0') { Err(Malformed::Nul) } else { Ok(text.to_owned()) }
    }

    /// The name of a topic: not empty, no wildcards.
    pub(super) fn topic(&mut self) -> Result<String, Malformed> {
        let topic = self.string()?;
        if topic.is_empty() || topic.contains(['#', '+']) { Err(Malformed::Topic) } else { Ok(topic) }
    }

    /// Checks a topic filter. `+` must be a whole level. `#` must be a whole level and the last one.
    pub(super) fn filter(&mut self) -> Result<String, Malformed> {
        let filter = self.string()?;
        let levels: Vec<&str> = filter.split('/').collect();
        let last = levels.len() - 1;
        let valid = !filter.is_empty()
            && levels.iter().enumerate().all(|(at, level)| match *level {
                "+" => true,
                "#" => at == last,
                other => !other.contains(['#', '+']),
            });
        if valid { Ok(filter) } else { Err(Malformed::Filter) }
    }

    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    /// Checks that no bytes are left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }
}
