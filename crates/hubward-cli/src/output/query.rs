//! The expression of `--query`: JMESPath, with the meaning that it has in `az`.

use std::io::{self, Write};

use jmespath::ast::Ast;
use jmespath::{Context, DEFAULT_RUNTIME, ErrorReason, JmespathError, Rcvar, RuntimeError, Variable};
use tokio::sync::oneshot;

use super::selection::Selection;
use crate::exit_code::ExitCode;
use crate::failure::Failure;

/// Limit of an expression in bytes.
const EXPRESSION_MAX: usize = 2 << 10;

/// Limit of a result in bytes of JSON. An expression can make the result much larger than the answer of the service.
const RESULT_MAX: usize = 64 << 20;

/// Size in bytes of the stack of the thread that parses or applies an expression. The JMESPath library is recursive: it
/// calls itself for each part of an expression. The deepest expression of [`EXPRESSION_MAX`] bytes needs about half of
/// this stack.
const STACK: usize = 64 << 20;

/// Limit of the numbers of a slice, such as `[1:10:2]`. The library adds them without a check, and panics if a sum does
/// not fit into 32 bits.
const SLICE_MAX: u32 = 1_000_000;

/// Maximum number of characters that an error quotes from an expression.
const QUOTED: usize = 20;

/// A valid expression.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    text: String,
    /// The member names of each `{…}` in the expression. For `{b: x, a: y}`, they are `b` and `a`, in this order. A
    /// table has its columns in this order. The library does not keep the order, because it sorts the members of an
    /// object by name.
    shapes: Vec<Vec<String>>,
}

/// A writer into memory with a limit in bytes.
struct Limited {
    bytes: Vec<u8>,
    max: usize,
}

impl Query {
    /// Parses an expression. Also checks what the library checks only when it applies an expression: the names of the
    /// functions, the numbers of their arguments, and the steps of slices.
    ///
    /// # Errors
    /// If the expression is not valid. The failure counts as a wrong argument, and names the position of the first
    /// mistake.
    pub(crate) async fn parse(text: &str) -> Result<Self, Failure> {
        if text.len() > EXPRESSION_MAX {
            let problem = format!("--query has {} bytes; at most {EXPRESSION_MAX} are allowed", text.len());
            return Err(Failure::usage(problem).hint("select less, or use --output json with a program such as jq"));
        }
        let expression = text.to_owned();
        let shapes = on_own_stack(move || shapes(&expression).map_err(|it| described(&expression, &it))).await?;
        let shapes = shapes.map_err(|problem| {
            Failure::usage(format!("--query is not valid JMESPath {problem}")).hint(
                "write the expression in quotes: --query \"[?status=='enabled'].deviceId\"; see https://jmespath.org",
            )
        })?;
        Ok(Self { text: text.to_owned(), shapes })
    }

    /// Applies the expression to the JSON body of an answer.
    ///
    /// # Errors
    /// If a function does not accept a value of the answer, or if the result is too large.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing. The thread that applies the expression continues until it is done, or until
    /// the program ends.
    pub(super) async fn apply(&self, body: &str) -> Result<Selection, Failure> {
        let (expression, body) = (self.text.clone(), body.to_owned());
        let json = on_own_stack(move || selected(&expression, &body, RESULT_MAX)).await;
        let json = json.unwrap_or_else(|failure| Err(failure.messages.join(": ")));
        json.and_then(|json| Selection::new(json, self.shapes.clone())).map_err(|problem| {
            // The service has carried out the request, and may have changed something. So the message must not sound as
            // if the service had refused the request.
            let message = "the service has carried out the request, but --query does not fit its answer";
            let fault = hubward::Fault::Request.to_string();
            let mut failure = Failure::new(ExitCode::Usage, "arguments", fault, message);
            failure.messages.push(problem);
            failure.hint("--output json without --query shows the whole answer")
        })
    }
}

/// Runs `work` in a thread with a large stack, and returns its result.
async fn on_own_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let (done, result) = oneshot::channel();
    let work = move || drop(done.send(work()));
    std::thread::Builder::new()
        .name("query".to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map_err(|error| Failure::local(format!("no thread can be started for --query: {error}")))?;
    // The thread sends no result if the library panics.
    result.await.map_err(|_| Failure::usage("--query cannot be evaluated"))
}

/// Parses the expression, and returns the member names of each `{…}` in it.
fn shapes(expression: &str) -> Result<Vec<Vec<String>>, JmespathError> {
    let mut shapes = Vec::new();
    inspect(&jmespath::parse(expression)?, &mut Context::new(expression, &DEFAULT_RUNTIME), &mut shapes)?;
    Ok(shapes)
}

/// Checks a part of an expression, and all parts inside it. Adds the member names of each `{…}` to `shapes`. An outer
/// `{…}` comes before the `{…}` inside it.
fn inspect(part: &Ast, context: &mut Context<'_>, shapes: &mut Vec<Vec<String>>) -> Result<(), JmespathError> {
    let mut all = |parts: &[&Ast]| parts.iter().try_for_each(|it| inspect(it, context, shapes));
    match part {
        Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Subexpr { lhs, rhs, .. } => all(&[lhs, rhs]),
        Ast::Condition { predicate, then, .. } => all(&[predicate, then]),
        Ast::Expref { ast: node, .. }
        | Ast::Flatten { node, .. }
        | Ast::Not { node, .. }
        | Ast::ObjectValues { node, .. } => all(&[node]),
        Ast::MultiList { elements, .. } => elements.iter().try_for_each(|it| all(&[it])),
        Ast::MultiHash { elements, .. } => {
            shapes.push(elements.iter().map(|it| it.key.clone()).collect());
            elements.iter().try_for_each(|it| inspect(&it.value, context, shapes))
        }
        Ast::Function { offset, name, args } => {
            args.iter().try_for_each(|it| all(&[it]))?;
            context.offset = *offset;
            check_call(name, args.len(), context)
        }
        Ast::Slice { offset, step: 0, .. } => {
            context.offset = *offset;
            Err(JmespathError::from_ctx(context, ErrorReason::Runtime(RuntimeError::InvalidSlice)))
        }
        Ast::Slice { offset, start, stop, step }
            if [*start, *stop, Some(*step)].into_iter().flatten().any(|it| it.unsigned_abs() > SLICE_MAX) =>
        {
            context.offset = *offset;
            let problem = format!("the numbers of a slice must be at most {SLICE_MAX}");
            Err(JmespathError::from_ctx(context, ErrorReason::Parse(problem)))
        }
        Ast::Slice { .. } | Ast::Identity { .. } | Ast::Field { .. } | Ast::Index { .. } | Ast::Literal { .. } => {
            Ok(())
        }
    }
}

/// Checks that the function exists and accepts this number of arguments.
fn check_call(name: &str, arguments: usize, context: &mut Context<'_>) -> Result<(), JmespathError> {
    let Some(function) = DEFAULT_RUNTIME.get_function(name) else {
        let unknown = RuntimeError::UnknownFunction(name.to_owned());
        return Err(JmespathError::from_ctx(context, ErrorReason::Runtime(unknown)));
    };
    // Call the function with a `null` for each argument. The function checks the number of arguments first, then their
    // types. Ignore an error about the types, because the real values are known only when the expression is applied.
    let nothing = vec![Rcvar::new(Variable::Null); arguments];
    match function.evaluate(&nothing, context) {
        Err(error) if is_wrong_count(&error) => Err(error),
        _ => Ok(()),
    }
}

const fn is_wrong_count(error: &JmespathError) -> bool {
    use RuntimeError::{NotEnoughArguments, TooManyArguments};
    matches!(error.reason, ErrorReason::Runtime(NotEnoughArguments { .. } | TooManyArguments { .. }))
}

/// Applies the expression to a JSON text. Returns the result as JSON of at most `max` bytes. An error is a description
/// of the problem.
fn selected(expression: &str, body: &str, max: usize) -> Result<String, String> {
    let body = Variable::from_json(body).map_err(|error| format!("the answer of the service is not JSON: {error}"))?;
    let compiled = jmespath::compile(expression).map_err(|error| described(expression, &error))?;
    let result = compiled.search(body).map_err(|error| described(expression, &error))?;
    if result.is_expref() {
        return Err("the result is an expression (`&…`), not a value".to_owned());
    }
    let mut json = Limited { bytes: Vec::new(), max };
    serde_json::to_writer(&mut json, &*result).map_err(|error| format!("the result cannot be printed: {error}"))?;
    String::from_utf8(json.bytes).map_err(|error| error.to_string())
}

/// Describes an error of the library: the position of the mistake, and its reason.
fn described(expression: &str, error: &JmespathError) -> String {
    let at = position(expression, error);
    let rest: String = expression.get(at..).unwrap_or_default().chars().take(QUOTED).collect();
    let place = match expression.get(..at).unwrap_or(expression).chars().count() + 1 {
        _ if rest.is_empty() => "at its end".to_owned(),
        number => format!("at character {number} (`{rest}`)"),
    };
    format!("{place}: {}", reason(&error.reason))
}

/// Returns the position of the mistake in bytes from the start of the expression.
fn position(expression: &str, error: &JmespathError) -> usize {
    let at = error.offset.min(expression.len());
    match &error.reason {
        // The library returns the position after the name. Return the position where the name begins.
        ErrorReason::Runtime(RuntimeError::UnknownFunction(name)) => {
            expression.get(..at).filter(|it| it.ends_with(name.as_str())).map_or(at, |it| it.len() - name.len())
        }
        // If the expression ends too early, the library returns the position of its last part. Return the end instead.
        ErrorReason::Parse(problem) if problem.ends_with("found Eof") => expression.len(),
        _ => at,
    }
}

fn reason(reason: &ErrorReason) -> String {
    match reason {
        ErrorReason::Parse(text) => {
            let text = text.split(" -- found").next().unwrap_or(text);
            // The library names its own parser functions here.
            if text.starts_with("Unexpected ") && text.ends_with(" token") {
                return "a name, a value or a closing bracket is missing, or the text here is not expected".to_owned();
            }
            text.to_owned()
        }
        ErrorReason::Runtime(RuntimeError::UnknownFunction(name)) => format!("there is no function `{name}`"),
        ErrorReason::Runtime(RuntimeError::InvalidSlice) => "the step of a slice must not be 0".to_owned(),
        ErrorReason::Runtime(RuntimeError::InvalidType { expected, actual, position }) => {
            format!("argument {} of this function must be {expected}, but is {actual}", position + 1)
        }
        ErrorReason::Runtime(error) => error.to_string(),
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.max {
            return Err(io::Error::other(format!("it has more than {} bytes", self.max)));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    const DEVICES: &str = r#"[{"deviceId":"b","status":"enabled","n":1.0,"keys":{"primaryKey":"k"}},
        {"deviceId":"a","status":"disabled","n":18446744073709551615,"keys":null}]"#;

    async fn shown(expression: &str, format: Format) -> String {
        let query = Query::parse(expression).await.expect(expression);
        query.apply(DEVICES).await.expect(expression).in_format(format, false)
    }

    #[tokio::test]
    async fn an_expression_selects_from_the_answer() {
        for (expression, json) in [
            ("[].deviceId", r#"["b","a"]"#),
            ("[?status=='enabled'].deviceId | [0]", r#""b""#),
            ("length(@)", "2"),
            ("[].n", "[1.0,18446744073709551615]"),
            ("sort_by(@, &deviceId)[0].{on: status, id: deviceId}", r#"{"id":"a","on":"disabled"}"#),
            ("[0].absent", ""),
        ] {
            assert_eq!(shown(expression, Format::Json).await, json, "{expression}");
        }
    }

    #[tokio::test]
    async fn columns_have_the_order_of_the_expression() {
        let table = shown("[].{name: deviceId, count: n}", Format::Table).await;
        assert!(table.starts_with("Name  Count\n"), "{table}");
        assert_eq!(shown("[].{z: status, a: deviceId}", Format::Tsv).await, "enabled\tb\ndisabled\ta\n");
    }

    #[tokio::test]
    async fn a_mistake_is_reported_with_its_position() {
        for (expression, expected) in [
            ("[].{a b}", "at character 7 (`b}`): Expected ':' to follow key"),
            ("[?status=='x'", "at its end: Expected ']'"),
            ("a.", "at its end: "),
            ("\"größe\".]", "at character 9 (`]`): Expected identifier"),
            ("[0] | lenght(@)", "at character 7 (`lenght(@)`): there is no function `lenght`"),
            ("[].[length(a, b)]", "at character 11 (`(a, b)]`): Too many arguments: expected 1, found 2"),
            ("[::0]", ": the step of a slice must not be 0"),
            ("[1::2147483647]", ": the numbers of a slice must be at most 1000000"),
            ("[-2147483647:]", ": the numbers of a slice must be at most 1000000"),
            ("", "at its end: "),
        ] {
            let failure = Query::parse(expression).await.expect_err(expression);
            assert_eq!(failure.exit_code, ExitCode::Usage, "{expression}");
            let message = &failure.messages[0];
            assert!(message.starts_with("--query is not valid JMESPath ") && message.contains(expected), "{message}");
        }
    }

    #[tokio::test]
    async fn the_deepest_expressions_do_not_exhaust_the_stack() {
        for (before, inner, after) in
            [("!", "a", ""), ("(", "a", ")"), ("[", "a", "]"), ("[]", "", ""), ("a.", "a", "")]
        {
            let times = (EXPRESSION_MAX - inner.len()) / (before.len() + after.len());
            let expression = format!("{}{inner}{}", before.repeat(times), after.repeat(times));
            let query = Query::parse(&expression).await.expect(before);
            // Ignore the result. `apply` may return an error, because the result is nested too deeply to be printed.
            // This test only checks that the stack is large enough.
            let _ = query.apply(r#"{"a": 1}"#).await;
        }
        let failure = Query::parse(&"a".repeat(EXPRESSION_MAX + 1)).await.expect_err("too long");
        assert_eq!(failure.messages[0], "--query has 2049 bytes; at most 2048 are allowed");
    }

    #[test]
    fn a_result_has_a_limit() {
        // Each part doubles the result.
        let expression = vec!["[@, @]"; 40].join(" | ");
        let problem = selected(&expression, "[1]", 1 << 10).expect_err("too large");
        assert_eq!(problem, "the result cannot be printed: it has more than 1024 bytes");
    }

    #[tokio::test]
    async fn a_wrong_type_is_reported_after_the_answer() {
        let failure = Query::parse("length([0].n)").await.expect("valid").apply(DEVICES).await.expect_err("a number");
        assert!(failure.messages[0].contains("has carried out the request"), "{failure:?}");
        assert!(failure.messages[1].ends_with("must be array|object|string, but is number"), "{failure:?}");
    }
}
