//! Evaluates an expression on one document.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::tree::{Comparison, Expression, Operator, Path};

/// A value; `None` is undefined.
pub(super) type Operand<'a> = Option<Cow<'a, Value>>;

/// The value at a path.
pub(super) fn member<'a>(document: &'a Value, Path(names): &Path) -> Option<&'a Value> {
    names.iter().try_fold(document, |it, name| it.as_object()?.get(name))
}

/// Whether a document matches: the condition must be `true`.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-query-language.md, "Expressions and conditions".
pub(super) fn fits(condition: &Expression, document: &Value) -> bool {
    truth(&evaluate(condition, document)) == Some(true)
}

/// Evaluates an expression. If an operand is undefined, the result of most operators is undefined.
///
/// `NOT` of undefined is also undefined. For example, if a document has no member `a`, neither `a = 1` nor `NOT a = 1`
/// matches the document.
///
/// Source: `[doc]` as for [`fits`]: a condition must be true. `[guess]`: all other rules are as in the query language
/// of Azure Cosmos DB, on which the twin query language is based.
pub(super) fn evaluate<'a>(expression: &'a Expression, document: &'a Value) -> Operand<'a> {
    match expression {
        Expression::Undefined => None,
        Expression::Constant(value) => Some(Cow::Borrowed(value)),
        Expression::Member(path) => member(document, path).map(Cow::Borrowed),
        Expression::Call(function, arguments) => {
            let arguments: Vec<Operand<'_>> = arguments.iter().map(|it| evaluate(it, document)).collect();
            function.call(&arguments)
        }
        Expression::Not(inner) => truth(&evaluate(inner, document)).map(|it| Cow::Owned(Value::Bool(!it))),
        Expression::Negative(inner) => match evaluate(inner, document)?.as_ref() {
            Value::Number(it) => match it.as_i64().and_then(i64::checked_neg) {
                Some(it) => Some(Cow::Owned(Value::from(it))),
                None => number(-it.as_f64()?),
            },
            _ => None,
        },
        Expression::Arithmetic(first, rest) => {
            let mut sum = evaluate(first, document)?;
            for (operator, next) in rest {
                sum = calculate(&sum, *operator, evaluate(next, document)?.as_ref())?;
            }
            Some(sum)
        }
        Expression::Compare(left, comparison, right) => {
            let (left, right) = (evaluate(left, document)?, evaluate(right, document)?);
            compare(&left, *comparison, &right).map(|it| Cow::Owned(Value::Bool(it)))
        }
        Expression::In { left, list, negated } => {
            let left = evaluate(left, document)?;
            // Objects and arrays cannot be compared.
            compare(&left, Comparison::Equal, &left)?;
            let found = list.iter().filter_map(|it| evaluate(it, document)).any(|it| equal(&left, &it) == Some(true));
            Some(Cow::Owned(Value::Bool(found != *negated)))
        }
        Expression::All(all) => junction(all, document, false),
        Expression::Any(all) => junction(all, document, true),
    }
}

/// Evaluates `AND` (`decides` is `false`) or `OR` (`decides` is `true`).
///
/// * `AND` is `false` if an operand is `false`. `OR` is `true` if an operand is `true`.
/// * Otherwise, the result is undefined if an operand is undefined or not a boolean.
fn junction<'a>(all: &'a [Expression], document: &'a Value, decides: bool) -> Operand<'a> {
    let mut known = true;
    for it in all {
        match truth(&evaluate(it, document)) {
            Some(it) if it == decides => return Some(Cow::Owned(Value::Bool(decides))),
            Some(_) => {}
            None => known = false,
        }
    }
    known.then_some(Cow::Owned(Value::Bool(!decides)))
}

fn truth(operand: &Operand<'_>) -> Option<bool> {
    operand.as_deref().and_then(Value::as_bool)
}

/// Compares two primitive values. If the types are different, the values are not equal, and `<`, `<=`, `>` and `>=` are
/// undefined. For an object or an array, every comparison is undefined.
///
/// Source: `[doc]` iot-hub/query-twins.md, "Twin query limitations": only primitive values can be compared.
/// `[guess]`: the result for different types.
fn compare(left: &Value, comparison: Comparison, right: &Value) -> Option<bool> {
    Some(match comparison {
        Comparison::Equal => equal(left, right)?,
        Comparison::Unequal => !equal(left, right)?,
        Comparison::Less => order(left, right)?.is_lt(),
        Comparison::LessOrEqual => order(left, right)?.is_le(),
        Comparison::Greater => order(left, right)?.is_gt(),
        Comparison::GreaterOrEqual => order(left, right)?.is_ge(),
    })
}

fn equal(left: &Value, right: &Value) -> Option<bool> {
    let is_primitive = |it: &Value| !it.is_object() && !it.is_array();
    if !is_primitive(left) || !is_primitive(right) {
        return None;
    }
    Some(order(left, right).map_or_else(|| left.is_null() && right.is_null(), Ordering::is_eq))
}

/// The order of two values of the same type.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => match (wide(left), wide(right)) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
        },
        _ => None,
    }
}

fn wide(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn calculate<'a>(left: &Value, operator: Operator, right: &Value) -> Operand<'a> {
    let (Value::Number(left), Value::Number(right)) = (left, right) else { return None };
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        let whole = match operator {
            Operator::Plus => left.checked_add(right),
            Operator::Minus => left.checked_sub(right),
            Operator::Times => left.checked_mul(right),
            Operator::Divide => (left.checked_rem(right) == Some(0)).then(|| left / right),
            Operator::Remainder => left.checked_rem(right),
        };
        if let Some(whole) = whole {
            return Some(Cow::Owned(Value::from(whole)));
        }
    }
    let (left, right) = (left.as_f64()?, right.as_f64()?);
    number(match operator {
        Operator::Plus => left + right,
        Operator::Minus => left - right,
        Operator::Times => left * right,
        Operator::Divide => left / right,
        Operator::Remainder => left % right,
    })
}

/// Converts a number to JSON: to an integer if it has no fraction. Returns undefined if the number is infinite or
/// NaN.
pub(super) fn number<'a>(it: f64) -> Operand<'a> {
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
    if it.fract() == 0.0 && it.abs() < 9_007_199_254_740_992.0 {
        return Some(Cow::Owned(Value::from(it as i64)));
    }
    Number::from_f64(it).map(|it| Cow::Owned(Value::Number(it)))
}
