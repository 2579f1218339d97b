use std::sync::Arc;

use cel::{Context, Env, IdedExpr, common::types::CelDouble};
use millrace_core::{
    Action,
    pipeline::{Alert, Rule},
};
use millrace_schema::{Corrupt, Projection, Schema};

use crate::{
    Error, Place, Problem, Raised, alert, check,
    evaluate::{self, Bindings},
    revision,
    symbols::Symbols,
};

/// A policy, checked and ready. Cheap to use from many threads, never changes.
pub struct Policy {
    rules: Vec<Compiled>,
    alerts: Vec<alert::Compiled>,
    symbols: Symbols,
    newest: Schema,
    env: Arc<Env>,
    revision: String,
}

struct Compiled {
    rule: Rule,
    condition: Condition,
}

/// A lowered condition. The one that every policy ends with needs no interpreter.
enum Condition {
    Always,
    Expression(IdedExpr),
}

/// How to read what the policy needs from events of one writer's schema.
pub struct Plan(Projection);

/// What a policy says about one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement<'p> {
    /// Index of the rule that matched.
    pub rule: usize,
    /// Its name.
    pub name: &'p str,
    /// Its action.
    pub action: Action,
    /// Its labels.
    pub labels: &'p [String],
    /// Rules before it that failed to evaluate, by index, to be counted.
    pub errored: Vec<usize>,
    /// The alerts that the verdict raises.
    pub alerts: Vec<Raised<'p>>,
}

impl Policy {
    /// Checks the rules and the alerts of a document against the newest schema of its events. All problems come at
    /// once, each with its place.
    pub fn compile(rules: &[Rule], alerts: &[Alert], newest: &Schema) -> Result<Self, Vec<Problem>> {
        let mut symbols = Symbols::default();
        let mut problems = Vec::new();
        let mut compiled = Vec::with_capacity(rules.len());
        if newest.root_node().record().is_none() {
            let message = format!("events are {}: a policy needs records", newest.root_node().ty());
            return Err(vec![Problem { place: Place::Policy, offset: 0, message }]);
        }
        for (i, rule) in rules.iter().enumerate() {
            match check::check(&rule.when, newest, &mut symbols) {
                Ok(expr) => compiled.push(Compiled { rule: rule.clone(), condition: Condition::of(&rule.when, expr) }),
                Err(findings) => problems.extend(findings.into_iter().map(|(offset, message)| Problem {
                    place: Place::When(i),
                    offset,
                    message,
                })),
            }
        }
        if rules.last().is_none_or(|last| last.when.trim() != "true") {
            let message = "the last rule's condition must be `true`, so that every event gets a verdict".to_owned();
            let place = rules.len().checked_sub(1).map_or(Place::Policy, Place::When);
            problems.push(Problem { place, offset: 0, message });
        }
        let alerts_compiled = alert::compile(alerts, newest, &mut symbols).unwrap_or_else(|more| {
            problems.extend(more);
            Vec::new()
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        let revision = revision::of(rules, alerts);
        let newest = newest.clone();
        Ok(Self { rules: compiled, alerts: alerts_compiled, symbols, newest, env: evaluate::env(), revision })
    }

    /// SHA-256 of the canonical policy, hex: part of every verdict and of its id.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The rule at an index, for its name.
    pub fn rule(&self, index: usize) -> &Rule {
        &self.rules[index].rule
    }

    /// The schema that the rules were checked against.
    pub fn newest(&self) -> &Schema {
        &self.newest
    }

    /// Prepares to judge events of a writer's schema.
    pub fn plan(&self, writer: &Schema) -> Result<Plan, Error> {
        Ok(Plan(Projection::compile(writer, &self.newest, &self.symbols.fields)?))
    }

    /// Judges one event by the first rule that matches. `event` are the bytes of the datum, in the schema that `plan`
    /// was made for; `score` is the calibrated probability.
    pub fn judge(&self, plan: &Plan, event: &[u8], score: f64) -> Result<Judgement<'_>, Corrupt> {
        let mut slots = Vec::with_capacity(self.symbols.fields.len());
        let end = plan.0.read(event, &mut slots)?;
        if end < event.len() {
            return Err(Corrupt { offset: end, what: "bytes behind the event" });
        }
        let bindings = Bindings { slots: &slots, score: CelDouble::from(score), constants: &self.symbols.constants };
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.set_variable_resolver(&bindings);
        let mut errored = Vec::new();
        let holds = |(i, compiled): (usize, &Compiled)| {
            let holds = compiled.condition.holds(&context);
            holds
                .unwrap_or_else(|_| {
                    errored.push(i);
                    false
                })
                .then_some(i)
        };
        let rule = self.rules.iter().enumerate().find_map(holds);
        let rule = rule.expect("the last condition is `true`: compile saw to it");
        let Rule { name, action, labels, .. } = &self.rules[rule].rule;
        let alerts = self.alerts.iter().filter(|alert| alert.is_on(*action)).map(|alert| alert.raise(&slots)).collect();
        Ok(Judgement { rule, name, action: *action, labels, errored, alerts })
    }
}

impl Condition {
    fn of(text: &str, expr: IdedExpr) -> Self {
        if text.trim() == "true" { Self::Always } else { Self::Expression(expr) }
    }

    fn holds(&self, context: &Context<'_, '_>) -> Result<bool, cel::ExecutionError> {
        match self {
            Self::Always => Ok(true),
            Self::Expression(expr) => evaluate::holds(expr, context),
        }
    }
}

#[cfg(test)]
mod tests;
