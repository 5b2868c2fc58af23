//! Adds line ends and indentation to a JSON text. Changes neither the order of members nor the text of values.

const STEP: &str = "  ";

/// Returns the text with one member or element per line. An empty object or array stays on its line.
///
/// The text must be JSON. If it is not JSON, the function still changes only spaces outside quotes.
pub(super) fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth: usize = 0;
    let mut rest = json.trim_start();
    while let Some(next) = rest.chars().next() {
        let token = match next {
            '"' => &rest[..string_length(rest)],
            _ => &rest[..next.len_utf8()],
        };
        rest = &rest[token.len()..];
        match next {
            '{' | '[' => {
                out.push(next);
                let inner = rest.trim_start();
                if let Some(close) = inner.chars().next().filter(|it| matches!(it, '}' | ']')) {
                    out.push(close);
                    rest = &inner[1..];
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(next);
            }
            ',' => {
                out.push(next);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            it if it.is_ascii_whitespace() => {}
            _ => out.push_str(token),
        }
    }
    out
}

/// Returns the number of bytes of the string at the start of the text, with both quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|it| {
        let ends = it == b'"' && !is_escaped;
        is_escaped = it == b'\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |it| it + 2)
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.push_str(&STEP.repeat(depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_text_and_their_order() {
        let json = r#"{"z" :1.0, "a":[ ],"text":"{\"é\\\", [1]}","list":[1,{"b":{}}], "n":null}"#;
        let expected = [
            "{",
            "  \"z\": 1.0,",
            "  \"a\": [],",
            r#"  "text": "{\"é\\\", [1]}","#,
            "  \"list\": [",
            "    1,",
            "    {",
            "      \"b\": {}",
            "    }",
            "  ],",
            "  \"n\": null",
            "}",
        ];
        assert_eq!(indented(json), expected.join("\n"));
        assert_eq!(indented(" \"a b\" "), "\"a b\"");
    }

    #[test]
    fn text_that_is_not_json_is_not_lost() {
        for text in ["\"open", "}]{", "é,", ""] {
            let kept: String = indented(text).chars().filter(|it| !it.is_ascii_whitespace()).collect();
            assert_eq!(kept, text);
        }
    }
}
