//! Lowered rules against one event, by `cel`'s interpreter.

use std::sync::Arc;

use cel::{
    Context, Env, ExecutionError, IdedExpr, Value, add_member_overload, add_overload,
    common::{
        types::{CelBool, CelBytes, CelDouble, CelInt, CelNull, CelString},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use millrace_schema::Slot;

use crate::{
    decode,
    symbols::{Pattern, Symbol},
};

/// CEL's standard library, and `matches` with a pattern that is compiled already.
pub(crate) fn env() -> Arc<Env> {
    let mut env = Env::stdlib();
    let added = add_overload!(env, fn matches: (CelString, Pattern) -> CelBool, id = "matches_pattern").and_then(
        |()| add_member_overload!(env, fn matches: (CelString, Pattern) -> CelBool, id = "matches_pattern_on"),
    );
    added.expect("the standard library has no overloads of these types");
    Arc::new(env)
}

fn matches(text: &CelString<'_>, pattern: &Pattern) -> CelBool {
    CelBool::from(pattern.0.is_match(text.inner()))
}

/// What the symbols of lowered rules stand for, in one event.
pub(crate) struct Bindings<'a> {
    pub(crate) slots: &'a [Slot<'a>],
    pub(crate) score: CelDouble,
    pub(crate) constants: &'a [Box<dyn Val>],
}

impl VariableResolver for Bindings<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        Some(match Symbol::parse(name)? {
            Symbol::Score => CowVal::Borrowed(&self.score),
            Symbol::Constant(index) => CowVal::Borrowed(self.constants.get(index)?.as_ref()),
            Symbol::Field(index) => match self.slots.get(index)? {
                Slot::Missing | Slot::Null => CowVal::Borrowed(&CelNull),
                Slot::Bool(it) => CowVal::owned(CelBool::from(*it)),
                Slot::Long(it) => CowVal::owned(CelInt::from(*it)),
                Slot::Double(it) => CowVal::owned(CelDouble::from(*it)),
                Slot::Str(it) => CowVal::owned(CelString::from(*it)),
                Slot::Bytes(it) => CowVal::owned(CelBytes::from(*it)),
                // over the bounds of a rule: the rule errs, the event goes on
                Slot::Complex(it) => CowVal::Owned(decode::complex(it).ok()?),
            },
        })
    }
}

/// Whether a condition holds. An error of any kind, also a result that is no boolean, is an error of the rule.
pub(crate) fn holds(condition: &IdedExpr, context: &Context<'_, '_>) -> Result<bool, ExecutionError> {
    let value = Value::resolve_val(condition, context)?;
    value.downcast_ref::<CelBool>().map(|it| *it.inner()).ok_or_else(|| ExecutionError::UnexpectedType {
        got: value.get_type().name().to_owned(),
        want: "bool".to_owned(),
    })
}
