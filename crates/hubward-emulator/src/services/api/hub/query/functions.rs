//! The functions of the query language.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::eval::{Operand, number};
use super::tree::Function;

/// The names of the functions. The list does not contain `ENDS_WITH` and `STARTS_WITH`, because only message routing
/// uses these names. Twin queries use `ENDSWITH` and `STARTSWITH`.
///
/// Source: `[seen]` MicrosoftDocs/azure-docs, issues 85381 and 110329.
const NAMES: [(&str, Function, RangeInclusive<usize>); 26] = [
    ("ABS", Function::Abs, 1..=1),
    ("AS_NUMBER", Function::AsNumber, 1..=1),
    ("CEILING", Function::Ceiling, 1..=1),
    ("CONCAT", Function::Concat, 2..=usize::MAX),
    ("CONTAINS", Function::Contains, 2..=2),
    ("ENDSWITH", Function::EndsWith, 2..=2),
    ("EXP", Function::Exp, 1..=1),
    ("FLOOR", Function::Floor, 1..=1),
    ("INDEX_OF", Function::IndexOf, 2..=2),
    ("IS_ARRAY", Function::IsArray, 1..=1),
    ("IS_BOOL", Function::IsBool, 1..=1),
    ("IS_DEFINED", Function::IsDefined, 1..=1),
    ("IS_NULL", Function::IsNull, 1..=1),
    ("IS_NUMBER", Function::IsNumber, 1..=1),
    ("IS_OBJECT", Function::IsObject, 1..=1),
    ("IS_PRIMITIVE", Function::IsPrimitive, 1..=1),
    ("IS_STRING", Function::IsString, 1..=1),
    ("LENGTH", Function::Length, 1..=1),
    ("LOWER", Function::Lower, 1..=1),
    ("POWER", Function::Power, 2..=2),
    ("SIGN", Function::Sign, 1..=1),
    ("SQRT", Function::Sqrt, 1..=1),
    ("SQUARE", Function::Square, 1..=1),
    ("STARTSWITH", Function::StartsWith, 2..=2),
    ("SUBSTRING", Function::Substring, 2..=3),
    ("UPPER", Function::Upper, 1..=1),
];

impl Function {
    /// Finds a function by name, ignoring letter case.
    pub(super) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(it, ..)| it.eq_ignore_ascii_case(name)).map(|(_, function, _)| *function)
    }

    /// The allowed number of arguments.
    pub(super) fn arguments(self) -> RangeInclusive<usize> {
        NAMES.iter().find(|(_, it, _)| *it == self).map_or(1..=1, |(.., count)| count.clone())
    }

    /// Calls the function with these arguments. If an argument has the wrong type, returns `None` (undefined).
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-query-language.md, "Functions". For an argument of the wrong type, the
    /// page gives the result of `AS_NUMBER` only. For the other functions, the result is a `[guess]`.
    pub(super) fn call<'a>(self, arguments: &[Operand<'a>]) -> Operand<'a> {
        let [first, rest @ ..] = arguments else { return None };
        let is = |fits: fn(&Value) -> bool| bool(first.as_deref().is_some_and(fits));
        let value = || first.as_deref();
        let float = || first.as_deref().and_then(Value::as_f64);
        let text = || first.as_deref().and_then(Value::as_str);
        let other = || rest.first().and_then(|it| it.as_deref());
        let other_text = || other().and_then(Value::as_str);
        match self {
            Self::IsDefined => bool(first.is_some()),
            Self::IsNull => is(Value::is_null),
            Self::IsBool => is(Value::is_boolean),
            Self::IsNumber => is(Value::is_number),
            Self::IsString => is(Value::is_string),
            Self::IsArray => is(Value::is_array),
            Self::IsObject => is(Value::is_object),
            Self::IsPrimitive => is(|it| !it.is_object() && !it.is_array()),
            Self::AsNumber => match value()? {
                Value::Number(_) => first.clone(),
                Value::String(text) => number(text.trim().parse().ok()?),
                _ => None,
            },
            Self::Abs => match value()? {
                it if it.is_u64() => first.clone(),
                _ => number(float()?.abs()),
            },
            Self::Exp => number(float()?.exp()),
            Self::Power => number(float()?.powf(other()?.as_f64()?)),
            Self::Square => number(float()?.powi(2)),
            Self::Ceiling => number(float()?.ceil()),
            Self::Floor => number(float()?.floor()),
            Self::Sign => {
                let it = float()?;
                number(if it == 0.0 { 0.0 } else { it.signum() })
            }
            Self::Sqrt => number(float()?.sqrt()),
            Self::Concat => {
                let texts: Option<Vec<&str>> = arguments.iter().map(|it| it.as_deref()?.as_str()).collect();
                string(texts?.concat())
            }
            Self::Length => whole(text()?.chars().count() as u64),
            Self::Lower => string(text()?.to_lowercase()),
            Self::Upper => string(text()?.to_uppercase()),
            Self::Substring => {
                let start = index(other()?)?;
                let length = match rest.get(1) {
                    None => usize::MAX,
                    Some(it) => index(it.as_deref()?)?,
                };
                string(text()?.chars().skip(start).take(length).collect())
            }
            Self::IndexOf => {
                let (text, part) = (text()?, other_text()?);
                let found = text.find(part).map(|at| text[..at].chars().count() as u64);
                found.map_or_else(|| Some(Cow::Owned(Value::from(-1))), whole)
            }
            Self::StartsWith => bool(text()?.starts_with(other_text()?)),
            Self::EndsWith => bool(text()?.ends_with(other_text()?)),
            Self::Contains => bool(text()?.contains(other_text()?)),
        }
    }
}

fn bool<'a>(it: bool) -> Operand<'a> {
    Some(Cow::Owned(Value::Bool(it)))
}

fn string<'a>(it: String) -> Operand<'a> {
    Some(Cow::Owned(Value::String(it)))
}

fn whole<'a>(it: u64) -> Operand<'a> {
    Some(Cow::Owned(Value::from(it)))
}

/// Returns a position in a string as a number.
fn index(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}
