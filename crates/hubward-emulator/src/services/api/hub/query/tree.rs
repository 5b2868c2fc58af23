//! The syntax tree of a query.

use serde_json::Value;

/// A whole query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    /// Maximum number of rows.
    pub(super) top: Option<u64>,
    pub(super) select: Select,
    pub(super) from: Collection,
    pub(super) condition: Option<Expression>,
    pub(super) group: Option<Path>,
}

/// The collection that is queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collection {
    Devices,
    Modules,
}

/// The selected columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Select {
    Everything,
    Columns(Vec<Column>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// The name of the member in a row.
    pub(super) name: String,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Member(Path),
    /// The number of documents.
    Count,
    /// An aggregate of a member over all documents.
    Of(Aggregate, Path),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Least,
    Most,
}

/// The names of a path, from the document to the member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<String>);

/// An expression. A chain such as `a AND b AND c` is one node, however long it is.
///
/// Only parentheses, functions and prefix operators make the tree deeper. The parser limits the depth.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Undefined,
    Constant(Value),
    Member(Path),
    Call(Function, Vec<Self>),
    Not(Box<Self>),
    Negative(Box<Self>),
    /// A sum or a product, such as `a + b - c` or `a * b / c`. It is evaluated from left to right.
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

/// The functions.
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
