//! What a query says, read.

use serde_json::Value;

/// A whole query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    /// Most rows.
    pub(super) top: Option<u64>,
    pub(super) select: Select,
    pub(super) from: Collection,
    pub(super) condition: Option<Expression>,
    pub(super) group: Option<Path>,
}

/// Which documents are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collection {
    Devices,
    Modules,
}

/// What is shown of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Select {
    Everything,
    Columns(Vec<Column>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// The member of a row.
    pub(super) name: String,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Member(Path),
    /// How many documents.
    Count,
    /// Of a member, over documents.
    Of(Aggregate, Path),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Least,
    Most,
}

/// Names from the document down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<String>);

/// Chains are flat, so only parentheses, functions and prefixes make it deep; the parser bounds these.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Undefined,
    Constant(Value),
    Member(Path),
    Call(Function, Vec<Self>),
    Not(Box<Self>),
    Negative(Box<Self>),
    /// `a + b - c`, or `a * b / c`: from the left.
    Arithmetic(Box<Self>, Vec<(Operator, Self)>),
    Compare(Box<Self>, Comparison, Box<Self>),
    In {
        left: Box<Self>,
        list: Vec<Self>,
        negated: bool,
    },
    All(Vec<Self>),
    Any(Vec<Self>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What can be called.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-query-language.md, "Functions".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    IsDefined,
    IsNull,
    IsBool,
    IsNumber,
    IsString,
    IsArray,
    IsObject,
    IsPrimitive,
    AsNumber,
    Abs,
    Exp,
    Power,
    Square,
    Ceiling,
    Floor,
    Sign,
    Sqrt,
    Concat,
    Length,
    Lower,
    Upper,
    Substring,
    IndexOf,
    StartsWith,
    EndsWith,
    Contains,
}
