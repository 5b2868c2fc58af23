//! Parses a whole query.

use super::cursor::Cursor;
use super::expression::{AGGREGATES, expression, is_reserved, path};
use super::lexer::{Kind, tokens};
use super::tree::{Aggregate, Collection, Column, Path, Query, Select, What};
use super::{Invalid, QueryError};

/// Maximum number of characters of a query.
const LONGEST: usize = 8192;

/// Keywords of SQL that this language does not have.
const UNKNOWN: [&str; 7] = ["ORDER", "HAVING", "JOIN", "LIMIT", "OFFSET", "UNION", "DISTINCT"];

impl Query {
    /// Parses a query.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-query-language.md, "Basics of an IoT Hub query". For the maximum
    /// length: iot-hub/query-twins.md, "Twin query limitations".
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        if text.chars().nth(LONGEST).is_some() {
            return Err(Invalid::new(LONGEST + 1, "a query may have at most 8,192 characters").into());
        }
        let mut cursor = Cursor::new(tokens(text)?);
        let cursor = &mut cursor;
        if !cursor.keyword("SELECT") {
            return Err(cursor.expected("SELECT").into());
        }
        let top = cursor.keyword("TOP").then(|| number(cursor)).transpose()?;
        // The columns come before `FROM`, but their paths may start with the alias that `FROM` defines. Parse `FROM`
        // first.
        let columns = cursor.place();
        skip_to_from(cursor);
        if !cursor.keyword("FROM") {
            cursor.go(columns);
            // `FROM` is missing. If the columns contain an error too, report that error instead, because it comes
            // earlier in the text.
            select(cursor)?;
            return Err(cursor.expected("FROM").into());
        }
        let from = from(cursor)?;
        let rest = cursor.go(columns);
        let (selected, is_all) = select(cursor)?;
        if !cursor.is_keyword("FROM") {
            return Err(cursor.expected("`,` or FROM").into());
        }
        cursor.go(rest);
        let condition = cursor.keyword("WHERE").then(|| expression(cursor)).transpose()?;
        let group = group(cursor)?;
        end(cursor)?;
        if group.is_some() && is_all {
            return Err(QueryError::NotEmulated("SELECT * with GROUP BY".into()));
        }
        check_columns(&selected, group.as_ref()).map_err(|message| {
            cursor.go(columns);
            cursor.wrong(&message)
        })?;
        Ok(Self { top, select: selected, from, condition, group })
    }
}

fn number(cursor: &mut Cursor) -> Result<u64, Invalid> {
    match cursor.peek() {
        Kind::Number(it) if it.as_u64().is_some_and(|it| it > 0) => {
            let number = it.as_u64().unwrap_or(1);
            cursor.take();
            Ok(number)
        }
        _ => Err(cursor.expected("a whole number above 0 after TOP")),
    }
}

/// Skips to `FROM`. A `FROM` after a dot is a name.
fn skip_to_from(cursor: &mut Cursor) {
    let mut after_dot = false;
    while *cursor.peek() != Kind::End && (after_dot || !cursor.is_keyword("FROM")) {
        after_dot = cursor.take() == Kind::Symbol(".");
    }
}

/// Parses the collection after `FROM`, and its alias.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-query-language.md, "FROM clause"; other aliases are a `[guess]`.
fn from(cursor: &mut Cursor) -> Result<Collection, QueryError> {
    let expected = "devices or devices.modules after FROM";
    if !cursor.keyword("devices") {
        return Err(cursor.expected(expected).into());
    }
    let mut from = Collection::Devices;
    if cursor.symbol(".") {
        if cursor.keyword("modules") {
            from = Collection::Modules;
        } else if cursor.keyword("jobs") {
            return Err(QueryError::NotEmulated("devices.jobs, because it has no jobs".into()));
        } else {
            return Err(cursor.expected("modules or jobs after `devices.`").into());
        }
    }
    let named = cursor.keyword("AS");
    match cursor.peek().clone() {
        Kind::Word(name) if !is_reserved(&name) && !UNKNOWN.iter().any(|it| it.eq_ignore_ascii_case(&name)) => {
            cursor.take();
            cursor.alias = Some(name);
        }
        _ if named => return Err(cursor.expected("a name after AS").into()),
        _ => {}
    }
    Ok(from)
}

/// Parses the columns. Also returns whether the query selects `*`.
fn select(cursor: &mut Cursor) -> Result<(Select, bool), Invalid> {
    if cursor.symbol("*") {
        return Ok((Select::Everything, true));
    }
    let mut columns: Vec<Column> = Vec::new();
    loop {
        let start = cursor.place();
        let column = column(cursor, columns.iter().filter(|it| !matches!(it.what, What::Member(_))).count())?;
        if columns.iter().any(|it| it.name == column.name) {
            cursor.go(start);
            return Err(cursor.wrong(&format!("there are two columns `{}`; rename one with AS", column.name)));
        }
        columns.push(column);
        if !cursor.symbol(",") {
            return Ok((Select::Columns(columns), false));
        }
    }
}

/// Parses one column and its name. The name is the alias, if there is one.
///
/// If a path has no alias, its name is the last part of the path. Aggregates without an alias have the names `$1`, `$2`
/// and so on.
///
/// Source: `[doc]` iot-hub/query-twins.md for `deviceId`. `[guess]`: deeper paths and aggregates work as in Azure
/// Cosmos DB.
fn column(cursor: &mut Cursor, aggregates: usize) -> Result<Column, Invalid> {
    let called = matches!(cursor.ahead(1), Kind::Symbol("("));
    let aggregate = match cursor.peek() {
        Kind::Word(name) if called => Some(AGGREGATES.iter().position(|it| it.eq_ignore_ascii_case(name))),
        _ => None,
    };
    let (what, name) = match aggregate {
        Some(None) => return Err(cursor.wrong("only COUNT, SUM, AVG, MIN and MAX are allowed after SELECT")),
        Some(Some(which)) => {
            cursor.take();
            cursor.expect_symbol("(")?;
            let of = match which {
                0 => None,
                1 => Some(Aggregate::Sum),
                2 => Some(Aggregate::Average),
                3 => Some(Aggregate::Least),
                _ => Some(Aggregate::Most),
            };
            let what = match of {
                None if matches!(cursor.peek(), Kind::Symbol(")")) => What::Count,
                None => return Err(cursor.wrong("COUNT takes no arguments; write COUNT()")),
                Some(of) => What::Of(of, path(cursor)?),
            };
            cursor.expect_symbol(")")?;
            (what, format!("${}", aggregates + 1))
        }
        None => {
            let path = path(cursor)?;
            let name = path.0.last().cloned().unwrap_or_default();
            (What::Member(path), name)
        }
    };
    if !cursor.keyword("AS") {
        return Ok(Column { name, what });
    }
    match cursor.peek().clone() {
        Kind::Escaped(name) => {
            cursor.take();
            Ok(Column { name, what })
        }
        Kind::Word(name) if !is_reserved(&name) => {
            cursor.take();
            Ok(Column { name, what })
        }
        _ => Err(cursor.expected("a name after AS")),
    }
}

fn group(cursor: &mut Cursor) -> Result<Option<Path>, Invalid> {
    if !cursor.keyword("GROUP") {
        return Ok(None);
    }
    if !cursor.keyword("BY") {
        return Err(cursor.expected("BY after GROUP"));
    }
    let group = path(cursor)?;
    if matches!(cursor.peek(), Kind::Symbol(",")) {
        return Err(cursor.wrong("GROUP BY takes one property"));
    }
    Ok(Some(group))
}

fn end(cursor: &Cursor) -> Result<(), Invalid> {
    let unknown = match cursor.peek() {
        Kind::End => return Ok(()),
        Kind::Word(name) => UNKNOWN.iter().find(|it| it.eq_ignore_ascii_case(name)),
        _ => None,
    };
    Err(match unknown {
        Some(word) => cursor.wrong(&format!("the query language of IoT Hub has no {word}")),
        None => cursor.expected("an operator, WHERE, GROUP BY or the end"),
    })
}

/// Checks the columns of a query. With GROUP BY, each column must be an aggregate or the property after GROUP BY.
/// Without GROUP BY, a query with an aggregate must contain only aggregates.
fn check_columns(select: &Select, group: Option<&Path>) -> Result<(), String> {
    let Select::Columns(columns) = select else { return Ok(()) };
    let aggregates = columns.iter().any(|it| !matches!(it.what, What::Member(_)));
    for column in columns {
        let What::Member(path) = &column.what else { continue };
        match group {
            None if aggregates => return Err(format!("`{}` beside an aggregate needs GROUP BY", path.0.join("."))),
            Some(group) if group != path => {
                return Err(format!("`{}` is not the property after GROUP BY", path.0.join(".")));
            }
            _ => {}
        }
    }
    Ok(())
}
