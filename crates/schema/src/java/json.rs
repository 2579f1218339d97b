//! JSON as Jackson writes it.

use std::fmt::Write;

use serde_json::{Number, Value};

pub(super) fn value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(it) => number(it, out),
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                self::value(item, out);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            out.push('{');
            for (i, (key, entry)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                string(key, out);
                out.push(':');
                self::value(entry, out);
            }
            out.push('}');
        }
    }
}

/// Short escapes where JSON has them, capital hexadecimal digits for other controls, all else as it is.
pub(super) fn string(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ..' ' => _ = write!(out, "\\u{:04X}", u32::from(char)), // writing to a String cannot fail
            _ => out.push(char),
        }
    }
    out.push('"');
}

fn number(number: &Number, out: &mut String) {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(double) => java_double(double, out),
        None => _ = write!(out, "{number}"), // writing to a String cannot fail
    }
}

/// `Double.toString`: plain from 0.001 up to ten million, else one digit, a point, and `E` with the exponent.
fn java_double(double: f64, out: &mut String) {
    let size = double.abs();
    let plain = size == 0.0 || (1e-3..1e7).contains(&size);
    // `{:?}` gives the shortest digits that read back the same, and `.0` behind a whole number; `{:e}` its exponent.
    let text = if plain { format!("{double:?}") } else { format!("{double:e}") };
    match text.split_once('e') {
        None => out.push_str(&text),
        Some((digits, exponent)) => {
            out.push_str(digits);
            if !digits.contains('.') {
                out.push_str(".0");
            }
            out.push('E');
            out.push_str(exponent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        value(&serde_json::from_str(text).unwrap(), &mut out);
        out
    }

    #[test]
    fn numbers_have_javas_form() {
        for (text, expected) in [
            ("0", "0"),
            ("-0.0", "-0.0"),
            ("1.50", "1.5"),
            ("100.0", "100.0"),
            ("1e10", "1.0E10"),
            ("12345678.9", "1.23456789E7"),
            ("9999999.0", "9999999.0"),
            ("0.001", "0.001"),
            ("0.00012", "1.2E-4"),
            ("9223372036854775807", "9223372036854775807"),
        ] {
            assert_eq!(written(text), expected);
        }
    }

    #[test]
    fn strings_have_jacksons_escapes() {
        assert_eq!(written(r#""\u001f\u0000\n\/é\u007f\"""#), "\"\\u001F\\u0000\\n/é\u{7f}\\\"\"");
    }
}
