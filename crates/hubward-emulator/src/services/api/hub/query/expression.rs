//! Parses conditions and paths.

use serde_json::Value;

use super::Invalid;
use super::cursor::Cursor;
use super::lexer::Kind;
use super::tree::{Comparison, Expression, Function, Operator, Path};

/// The members of a twin that the service defines.
///
/// Source: `[doc]` iot-hub/query-twins.md; `[sdk]` azure-iot-sdk-python, models.
const MEMBERS: [&str; 20] = [
    "deviceId",
    "moduleId",
    "etag",
    "deviceEtag",
    "status",
    "statusReason",
    "statusUpdateTime",
    "connectionState",
    "lastActivityTime",
    "cloudToDeviceMessageCount",
    "authenticationType",
    "x509Thumbprint",
    "modelId",
    "deviceScope",
    "parentScopes",
    "version",
    "tags",
    "properties",
    "capabilities",
    "configurations",
];

/// Words that cannot start a path and cannot be an alias.
const RESERVED: [&str; 14] =
    ["SELECT", "TOP", "FROM", "WHERE", "GROUP", "BY", "AS", "AND", "OR", "NOT", "IN", "NIN", "ORDER", "HAVING"];

pub(super) const AGGREGATES: [&str; 5] = ["COUNT", "SUM", "AVG", "MIN", "MAX"];

/// The constants and their values. `None` means undefined, and `Some(None)` means null.
const CONSTANTS: [(&str, Option<Option<bool>>); 4] =
    [("true", Some(Some(true))), ("false", Some(Some(false))), ("null", Some(None)), ("undefined", None)];

/// The order of these symbols does not matter, because the lexer has already split the text into symbols.
const COMPARISONS: [(&str, Comparison); 7] = [
    ("=", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<>", Comparison::Unequal),
    ("<", Comparison::Less),
    ("<=", Comparison::LessOrEqual),
    (">", Comparison::Greater),
    (">=", Comparison::GreaterOrEqual),
];

/// Parses a condition or a subexpression.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-query-language.md, "Expressions and conditions". `[guess]`: the
/// precedence of the operators is the same as in SQL.
pub(super) fn expression(cursor: &mut Cursor) -> Result<Expression, Invalid> {
    chain(cursor, "OR", |cursor| chain(cursor, "AND", negation, Expression::All), Expression::Any)
}

fn chain(
    cursor: &mut Cursor,
    keyword: &str,
    next: impl Fn(&mut Cursor) -> Result<Expression, Invalid>,
    whole: impl FnOnce(Vec<Expression>) -> Expression,
) -> Result<Expression, Invalid> {
    let first = next(cursor)?;
    if !cursor.is_keyword(keyword) {
        return Ok(first);
    }
    let mut all = vec![first];
    while cursor.keyword(keyword) {
        all.push(next(cursor)?);
    }
    Ok(whole(all))
}

fn negation(cursor: &mut Cursor) -> Result<Expression, Invalid> {
    if cursor.keyword("NOT") {
        return Ok(Expression::Not(Box::new(cursor.deeper(negation)?)));
    }
    comparison(cursor)
}

fn comparison(cursor: &mut Cursor) -> Result<Expression, Invalid> {
    let left = sum(cursor)?;
    if let Some(negated) = membership(cursor) {
        return Ok(Expression::In { left: Box::new(left), list: list(cursor)?, negated });
    }
    let Some((_, comparison)) = COMPARISONS.into_iter().find(|(symbol, _)| cursor.symbol(symbol)) else {
        return Ok(left);
    };
    let right = sum(cursor)?;
    Ok(Expression::Compare(Box::new(left), comparison, Box::new(right)))
}

/// Parses `IN`, `NIN` or `NOT IN`. Returns `true` for `NIN` and `NOT IN`, and `false` for `IN`. Returns `None` if the
/// next token is none of these.
fn membership(cursor: &mut Cursor) -> Option<bool> {
    if cursor.keyword("IN") {
        return Some(false);
    }
    let not_in = cursor.is_keyword("NOT") && matches!(cursor.ahead(1), Kind::Word(it) if it.eq_ignore_ascii_case("IN"));
    if not_in {
        cursor.take();
    }
    (cursor.keyword("NIN") || (not_in && cursor.keyword("IN"))).then_some(true)
}

/// Parses the list after `IN`.
///
/// Source: `[doc]` iot-hub/query-twins.md: a list has brackets. `[guess]`: a list may have parentheses, as in SQL.
fn list(cursor: &mut Cursor) -> Result<Vec<Expression>, Invalid> {
    let close = if cursor.symbol("[") {
        "]"
    } else if cursor.symbol("(") {
        ")"
    } else {
        return Err(cursor.expected("a list such as `['a', 'b']` after IN"));
    };
    let mut list = Vec::new();
    loop {
        list.push(cursor.deeper(sum)?);
        if cursor.symbol(close) {
            return Ok(list);
        }
        if !cursor.symbol(",") {
            return Err(cursor.expected(&format!("`,` or `{close}`")));
        }
    }
}

fn sum(cursor: &mut Cursor) -> Result<Expression, Invalid> {
    arithmetic(cursor, &[("+", Operator::Plus), ("-", Operator::Minus)], |cursor| {
        let operators = [("*", Operator::Times), ("/", Operator::Divide), ("%", Operator::Remainder)];
        arithmetic(cursor, &operators, prefix)
    })
}

fn arithmetic(
    cursor: &mut Cursor,
    operators: &[(&str, Operator)],
    next: impl Fn(&mut Cursor) -> Result<Expression, Invalid>,
) -> Result<Expression, Invalid> {
    let first = next(cursor)?;
    let mut rest = Vec::new();
    while let Some((_, operator)) = operators.iter().find(|(symbol, _)| cursor.symbol(symbol)) {
        rest.push((*operator, next(cursor)?));
    }
    Ok(if rest.is_empty() { first } else { Expression::Arithmetic(Box::new(first), rest) })
}

fn prefix(cursor: &mut Cursor) -> Result<Expression, Invalid> {
    if cursor.symbol("-") {
        return Ok(Expression::Negative(Box::new(cursor.deeper(prefix)?)));
    }
    if cursor.symbol("+") {
        return cursor.deeper(prefix);
    }
    if cursor.symbol("(") {
        let inner = cursor.deeper(expression)?;
        cursor.expect_symbol(")")?;
        return Ok(inner);
    }
    if matches!(cursor.peek(), Kind::Symbol("[")) {
        return Err(
            cursor.wrong("a list is allowed after IN and NIN only, because only primitive values can be compared")
        );
    }
    match cursor.peek().clone() {
        Kind::Text(text) => {
            cursor.take();
            Ok(Expression::Constant(Value::String(text)))
        }
        Kind::Number(number) => {
            cursor.take();
            Ok(Expression::Constant(Value::Number(number)))
        }
        Kind::Word(name) if matches!(cursor.ahead(1), Kind::Symbol("(")) => call(cursor, &name),
        Kind::Word(name) if !matches!(cursor.ahead(1), Kind::Symbol(".")) => {
            let constant = CONSTANTS.into_iter().find(|(it, _)| it.eq_ignore_ascii_case(&name));
            let Some((_, constant)) = constant else { return path(cursor).map(Expression::Member) };
            cursor.take();
            Ok(match constant {
                Some(Some(truth)) => Expression::Constant(Value::Bool(truth)),
                Some(None) => Expression::Constant(Value::Null),
                None => Expression::Undefined,
            })
        }
        _ => path(cursor).map(Expression::Member),
    }
}

fn call(cursor: &mut Cursor, name: &str) -> Result<Expression, Invalid> {
    let Some(function) = Function::named(name) else {
        let without = name.replace('_', "");
        let hint = match Function::named(&without) {
            Some(_) => format!("; use {} in twin queries", without.to_ascii_uppercase()),
            None if AGGREGATES.iter().any(|it| it.eq_ignore_ascii_case(name)) => {
                "; it is allowed after SELECT only".into()
            }
            None => String::new(),
        };
        return Err(cursor.wrong(&format!("the function `{name}` is unknown here{hint}")));
    };
    let start = cursor.place();
    cursor.take();
    cursor.expect_symbol("(")?;
    let mut arguments = Vec::new();
    if !cursor.symbol(")") {
        loop {
            arguments.push(cursor.deeper(expression)?);
            if cursor.symbol(")") {
                break;
            }
            if !cursor.symbol(",") {
                return Err(cursor.expected("`,` or `)`"));
            }
        }
    }
    if !function.arguments().contains(&arguments.len()) {
        cursor.go(start);
        let (least, most) = (*function.arguments().start(), *function.arguments().end());
        let count = match most {
            usize::MAX => format!("{least} arguments or more"),
            _ if least == most => format!("{least} argument{}", if least == 1 { "" } else { "s" }),
            _ => format!("{least} to {most} arguments"),
        };
        return Err(cursor.wrong(&format!("`{name}` takes {count}")));
    }
    if function == Function::IsDefined && !matches!(arguments[0], Expression::Member(_)) {
        cursor.go(start);
        return Err(cursor.wrong("the argument of IS_DEFINED must be the path of a property, such as tags.site"));
    }
    Ok(Expression::Call(function, arguments))
}

/// Parses a path such as `tags.site`. Removes the prefix `devices.`, `devices.modules.` or the alias from `FROM`.
///
/// The letter case of names that the service defines does not matter. The letter case of tags and properties matters.
///
/// Source: `[doc]` iot-hub/query-twins.md: `SELECT DeviceId` shows `deviceId`. The page also has a path with a prefix,
/// `devices.jobs.deviceId`. `[sdk]` Azure IoT samples: `devices.modules.moduleId`, and `id` for `deviceId`.
pub(super) fn path(cursor: &mut Cursor) -> Result<Path, Invalid> {
    let mut names = vec![name(cursor, false)?];
    while cursor.symbol(".") {
        names.push(name(cursor, true)?);
    }
    let names: Vec<(String, bool)> = names;
    let is =
        |at: usize, name: &str| names.get(at).is_some_and(|(it, escaped)| !escaped && it.eq_ignore_ascii_case(name));
    let prefix = match &cursor.alias {
        Some(alias) if names[0].0 == *alias => 1,
        _ if is(0, "devices") && is(1, "modules") => 2,
        _ if is(0, "devices") => 1,
        _ => 0,
    };
    let mut names: Vec<String> = names.into_iter().map(|(it, _)| it).skip(prefix).collect();
    if names.is_empty() {
        return Err(cursor.expected("`.` and the name of a property"));
    }
    canonical(&mut names);
    Ok(Path(names))
}

/// Parses one name. Returns the name, and whether it was escaped with `[[` and `]]`.
fn name(cursor: &mut Cursor, after_dot: bool) -> Result<(String, bool), Invalid> {
    match cursor.peek().clone() {
        Kind::Escaped(name) => {
            cursor.take();
            Ok((name, true))
        }
        Kind::Word(name) if name.eq_ignore_ascii_case("group") && after_dot => {
            Err(cursor.wrong("`group` is a keyword; write `[[group]]` for a property with this name"))
        }
        Kind::Word(name) if !after_dot && is_reserved(&name) => {
            Err(cursor.expected("a property, a value or a function"))
        }
        Kind::Word(name) => {
            cursor.take();
            Ok((name, false))
        }
        _ if after_dot => {
            Err(cursor.expected("a name after `.` (write a name with other characters as `[[my-name]]`)"))
        }
        _ => Err(cursor.expected("a property, a value or a function")),
    }
}

pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|it| it.eq_ignore_ascii_case(name))
}

fn canonical(names: &mut [String]) {
    let find = |name: &mut String, known: &[&str]| {
        if let Some(it) = known.iter().find(|it| it.eq_ignore_ascii_case(name)) {
            *name = (*it).to_owned();
        }
    };
    find(&mut names[0], &MEMBERS);
    if names[0].eq_ignore_ascii_case("id") {
        "deviceId".clone_into(&mut names[0]);
    }
    let below: &[&str] = match names[0].as_str() {
        "properties" => &["desired", "reported"],
        "capabilities" => &["iotEdge"],
        "x509Thumbprint" => &["primaryThumbprint", "secondaryThumbprint"],
        _ => return,
    };
    if let Some(name) = names.get_mut(1) {
        find(name, below);
    }
}
