//! Conditions over JSON: whether a task runs, whether it is tried again.

use std::collections::{BTreeSet, HashMap};

use cel::{
    Context, Program, Value,
    common::ast::{EntryExpr, Expr, IdedExpr},
};
use serde_json::Value as Json;

/// A condition that was read and whose names are known.
#[derive(Debug)]
pub struct Condition {
    text: String,
    program: Program,
}

impl Condition {
    /// Reads a condition over some variables. Says every name that it uses and that is not among them; of a variable with
    /// known members (`tasks`), also a member that it has not.
    pub fn parse(text: &str, variables: &[(&str, Option<&BTreeSet<String>>)]) -> Result<Self, Vec<String>> {
        let program = Program::compile(text).map_err(|errors| {
            errors
                .errors
                .iter()
                .map(|it| format!("not CEL: character {}: {}", it.pos.1.max(1), it.msg))
                .collect::<Vec<_>>()
        })?;
        let mut used = BTreeSet::new();
        uses(program.expression(), &mut Vec::new(), &mut used);
        let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        let problem = |(name, member): &(String, Option<String>)| {
            let Some((_, members)) = variables.iter().find(|(known, _)| known == name) else {
                return Some(format!("`{name}` is not there; a condition has {}", names.join(", ")));
            };
            let (members, member) = ((*members)?, member.as_ref()?);
            (!members.contains(member)).then(|| format!("`{name}.{member}` is not there"))
        };
        let problems: Vec<String> = used.iter().filter_map(problem).collect();
        if problems.is_empty() { Ok(Self { text: text.to_owned(), program }) } else { Err(problems) }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds. What errs, or gives something else than true or false, is told in a sentence.
    pub fn holds(&self, variables: &[(&str, &Json)]) -> Result<bool, String> {
        let mut context = Context::default();
        for (name, value) in variables {
            context.add_variable_from_value(*name, of_json(value));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("`{}` gives {other:?} and not true or false", self.text)),
            Err(error) => Err(format!("`{}`: {error}", self.text)),
        }
    }
}

/// A value as CEL has it: whole numbers are `int`, as the numbers of a condition are, so that they can be reckoned with.
fn of_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(it) => Value::Bool(*it),
        Json::Number(it) => it.as_i64().map_or_else(|| Value::Float(it.as_f64().unwrap_or(f64::NAN)), Value::Int),
        Json::String(it) => Value::from(it.as_str()),
        Json::Array(items) => Value::from(items.iter().map(of_json).collect::<Vec<_>>()),
        Json::Object(fields) => {
            let fields: HashMap<String, Value> = fields.iter().map(|(name, it)| (name.clone(), of_json(it))).collect();
            Value::from(fields)
        }
    }
}

/// The variables that an expression uses, each with the member that it asks for. `scope` holds those that it makes.
fn uses(expr: &IdedExpr, scope: &mut Vec<String>, used: &mut BTreeSet<(String, Option<String>)>) {
    let mut free = |name: &str, member: Option<&str>, scope: &[String]| {
        if !scope.iter().any(|made| made == name) {
            used.insert((name.to_owned(), member.map(str::to_owned)));
        }
    };
    match &expr.expr {
        Expr::Ident(name) => free(name, None, scope),
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(name) => free(name, Some(&select.field), scope),
            _ => uses(&select.operand, scope, used),
        },
        Expr::Call(call) => {
            for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                uses(part, scope, used);
            }
        }
        Expr::List(list) => {
            for item in &list.elements {
                uses(item, scope, used);
            }
        }
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    uses(&entry.key, scope, used);
                    uses(&entry.value, scope, used);
                }
            }
        }
        Expr::Comprehension(it) => {
            uses(&it.iter_range, scope, used);
            uses(&it.accu_init, scope, used);
            let outer = scope.len();
            scope.extend([&it.iter_var, &it.accu_var].into_iter().chain(&it.iter_var2).cloned());
            for part in [&it.loop_cond, &it.loop_step, &it.result] {
                uses(part, scope, used);
            }
            scope.truncate(outer);
        }
        Expr::Struct(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tasks() -> BTreeSet<String> {
        ["extract".to_owned()].into()
    }

    #[test]
    fn a_condition_sees_what_it_may() {
        let tasks = tasks();
        let names = [("params", None), ("tasks", Some(&tasks))];
        let condition = Condition::parse("tasks.extract.output.rows > 10 && params.mode == 'full'", &names).unwrap();
        let params = json!({"mode": "full"});
        for (rows, expected) in [(12, true), (7, false)] {
            let tasks = json!({"extract": {"output": {"rows": rows}}});
            assert_eq!(condition.holds(&[("params", &params), ("tasks", &tasks)]), Ok(expected));
        }
        let error = condition.holds(&[("params", &params), ("tasks", &json!({"extract": {}}))]).unwrap_err();
        assert!(error.contains("tasks.extract"), "{error}");
    }

    #[test]
    fn numbers_of_json_can_be_reckoned_with() {
        let numbers = json!({"a": 4, "b": -6, "c": 0.5, "d": [1, 2]});
        for text in [
            "n.a % 2 == 0",
            "n.a + n.b == -2",
            "n.b - n.a < 0",
            "n.a * 2 > 7",
            "n.c < 1.0",
            "n.d.exists(it, it == n.a / 2)",
        ] {
            let condition = Condition::parse(text, &[("n", None)]).unwrap();
            assert_eq!(condition.holds(&[("n", &numbers)]), Ok(true), "{text}");
        }
    }

    #[test]
    fn what_it_may_not_see_is_said_before() {
        let tasks = tasks();
        let names = [("params", None), ("tasks", Some(&tasks))];
        let problems = |text: &str| Condition::parse(text, &names).unwrap_err();
        assert_eq!(problems("task.extract == 1"), ["`task` is not there; a condition has params, tasks"]);
        assert_eq!(problems("[tasks.load.output].exists(it, it == 1)"), ["`tasks.load` is not there"]);
        assert!(problems("params.a ==")[0].starts_with("not CEL"), "{:?}", problems("params.a =="));
        let number = Condition::parse("1 + 1", &names).unwrap();
        assert!(number.holds(&[]).unwrap_err().contains("not true or false"));
    }
}
