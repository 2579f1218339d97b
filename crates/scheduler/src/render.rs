//! Templates: Jinja with the names that Airflow's users know.
//!
//! ```text
//! a task's fields (JSON) --check: names that are there, when the document is applied
//!                        --render with a Context: what the attempt is given
//! ```
//!
//! - A text that is one whole expression keeps the type of what it gives: `"{{ params.limit }}"` is a number where the
//!   parameter is one. Any other text is text.
//! - What is not there is an error, never an empty text.
//! - What is not the same twice (`now()`, `macros.uuid()`, `macros.random()`) comes from the [`Context`]: an attempt that is
//!   rendered again is rendered alike.

mod moment;
mod names;
mod occasion;
mod values;

pub use moment::Moment;
pub use names::{Names, is_taken};
pub use occasion::{OF_AN_EVENT, Occasion, check_occasion, render_occasion};
pub use values::{Attempt, Context, Interval, Run};

use std::sync::{LazyLock, PoisonError};

use millrace_core::document::segment;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, value::ValueKind};
use serde_json::{Map, Value as Json};

/// Steps that one template may take: enough for loops over what a task is given, too few to hold anybody up.
const FUEL: u64 = 1_000_000;
/// How deep values may be nested.
const DEPTH: usize = 64;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    moment::add_filters(&mut environment);
    environment
});

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct Fault {
    /// The JSON pointer of the text, from the value that was given.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

/// Renders every text in a value.
pub fn render(value: &Json, context: &Context) -> Result<Json, Fault> {
    let place = values::Place::default();
    let values = context.values(&place);
    walk(value, &mut String::new(), 0, &mut |text, pointer| {
        *place.lock().unwrap_or_else(PoisonError::into_inner) = (pointer.to_owned(), 0);
        render_text(text, pointer, &values)
    })
}

fn render_text(text: &str, pointer: &str, values: &Value) -> Result<Json, Fault> {
    match parse(text) {
        Err(error) => Err(fault(pointer, &error)),
        Ok(Text::Plain) => Ok(Json::String(text.to_owned())),
        Ok(Text::Expression(expression)) => {
            let given = expression.eval(values.clone()).map_err(|error| fault(pointer, &error))?;
            if lacks(&given, 0) {
                let message = format!("`{}` is not there, or something in it is not", text.trim());
                return Err(Fault { pointer: pointer.to_owned(), message });
            }
            to_json(&given).map_err(|message| Fault { pointer: pointer.to_owned(), message })
        }
        Ok(Text::Template(template)) => {
            template.render(values.clone()).map(Json::String).map_err(|error| fault(pointer, &error))
        }
    }
}

/// Whether a text is one whole expression, which gives a value of any type.
pub fn is_expression(text: &str) -> bool {
    matches!(parse(text), Ok(Text::Expression(_)))
}

/// Whether there are templates in a value.
pub fn is_templated(value: &Json) -> bool {
    match value {
        Json::String(text) => has_marks(text),
        Json::Array(items) => items.iter().any(is_templated),
        Json::Object(fields) => fields.values().any(is_templated),
        _ => false,
    }
}

fn has_marks(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// What a text is.
enum Text<'a> {
    /// Itself.
    Plain,
    /// One expression, from the first character to the last.
    Expression(minijinja::Expression<'a, 'a>),
    /// Text with expressions in it.
    Template(minijinja::Template<'a, 'a>),
}

fn parse(text: &str) -> Result<Text<'_>, minijinja::Error> {
    if !has_marks(text) {
        return Ok(Text::Plain);
    }
    let environment: &Environment<'_> = &ENVIRONMENT;
    let inner = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    // `{{-` and `-}}` are about the white space around, of which there is none.
    let inner = inner.map(|inner| inner.strip_prefix(['-', '+']).unwrap_or(inner));
    let inner = inner.map(|inner| inner.strip_suffix(['-', '+']).unwrap_or(inner));
    // `{{ a }} and {{ b }}` begins and ends like one as well, and is none.
    if let Some(Ok(expression)) = inner.map(|inner| environment.compile_expression(inner)) {
        return Ok(Text::Expression(expression));
    }
    environment.template_from_str(text).map(Text::Template)
}

/// Puts something in the place of every text.
fn walk(
    value: &Json,
    pointer: &mut String,
    depth: usize,
    text: &mut impl FnMut(&str, &str) -> Result<Json, Fault>,
) -> Result<Json, Fault> {
    if depth > DEPTH {
        return Err(Fault { pointer: pointer.clone(), message: format!("nested more than {DEPTH} deep") });
    }
    let length = pointer.len();
    match value {
        Json::String(it) => text(it, pointer),
        Json::Array(items) => {
            let mut rendered = Vec::with_capacity(items.len());
            for (place, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{place}"));
                rendered.push(walk(item, pointer, depth + 1, text)?);
                pointer.truncate(length);
            }
            Ok(Json::Array(rendered))
        }
        Json::Object(fields) => {
            let mut rendered = Map::with_capacity(fields.len());
            for (name, field) in fields {
                pointer.push('/');
                pointer.push_str(&segment(name));
                rendered.insert(name.clone(), walk(field, pointer, depth + 1, text)?);
                pointer.truncate(length);
            }
            Ok(Json::Object(rendered))
        }
        other => Ok(other.clone()),
    }
}

/// Whether a value, or anything in it, is undefined: as JSON it would be null without a word.
fn lacks(value: &Value, depth: usize) -> bool {
    if value.is_undefined() || depth > DEPTH {
        return true;
    }
    match value.kind() {
        ValueKind::Seq => value.try_iter().is_ok_and(|mut items| items.any(|item| lacks(&item, depth + 1))),
        ValueKind::Map => value
            .try_iter()
            .is_ok_and(|mut keys| keys.any(|key| value.get_item(&key).is_ok_and(|item| lacks(&item, depth + 1)))),
        _ => false,
    }
}

fn to_json(value: &Value) -> Result<Json, String> {
    if let Some(moment) = value.downcast_object_ref::<Moment>() {
        return Ok(Json::String(moment.to_string()));
    }
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// The error in one line, with its line in the text where that has several.
fn fault(pointer: &str, error: &minijinja::Error) -> Fault {
    let mut message = error.kind().to_string();
    if let Some(detail) = error.detail() {
        message.push_str(&format!(": {detail}"));
    }
    if let Some(line) = error.line().filter(|line| *line > 1) {
        message.push_str(&format!(" (line {line} of the text)"));
    }
    Fault { pointer: pointer.to_owned(), message }
}

#[cfg(test)]
mod tests;
