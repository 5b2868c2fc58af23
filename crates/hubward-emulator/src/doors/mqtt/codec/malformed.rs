//! Errors of packets.

/// The rule that a packet breaks. The server must close the connection after such a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the remaining length has more than four bytes, or more than it needs")]
    Length,
    #[error("the packet is larger than allowed")]
    TooLarge,
    #[error("a packet type that a client must not send")]
    Type,
    #[error("flags that this packet type does not have")]
    Flags,
    #[error("a field is cut off")]
    Short,
    #[error("bytes after the last field")]
    Trailing,
    #[error("packet id 0")]
    PacketId,
    #[error("text that is not UTF-8")]
    Utf8,
    #[error("U+0000 in a text")]
    Nul,
    #[error("a topic that is empty or has wildcards")]
    Topic,
    #[error("a topic filter that is empty or has misplaced wildcards")]
    Filter,
    #[error("a quality of service above 2")]
    Qos,
    #[error("DUP with quality of service 0")]
    Duplicate,
    #[error("not the protocol name MQTT")]
    Protocol,
    /// The server answers a CONNECT of another protocol level with CONNACK 1 before it closes the connection.
    #[error("a protocol level other than 4 (MQTT 3.1.1)")]
    Level,
    #[error("no topic filter")]
    NoFilter,
}
