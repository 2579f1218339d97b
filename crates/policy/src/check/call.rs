//! Operators and function calls.

use std::sync::Arc;

use cel::{
    IdedExpr,
    common::{
        ast::{CallExpr, Expr, LiteralValue, SelectExpr, operators},
        types::CelList,
    },
};

use super::{Checker, Typed, function, literal_value, symbol};
use crate::{
    symbols::{Pattern, Symbol},
    ty::Ty,
};

impl Checker<'_> {
    pub(super) fn call(&mut self, expr: &mut IdedExpr) -> Typed {
        let id = expr.id;
        if becomes_select(expr) {
            return self.select(expr);
        }
        let Expr::Call(call) = &mut expr.expr else { unreachable!("called for a call") };
        let CallExpr { func_name, target, args } = call;
        match (func_name.as_str(), args.as_mut_slice()) {
            (operators::CONDITIONAL, [condition, yes, no]) => {
                self.expect_bool("?:", condition);
                self.value(yes).join(self.value(no))
            }
            (operators::LOGICAL_AND, [left, right]) => self.logical("&&", left, right),
            (operators::LOGICAL_OR, [left, right]) => self.logical("||", left, right),
            (operators::LOGICAL_NOT, [operand]) => self.expect_bool("!", operand),
            (operators::NOT_STRICTLY_FALSE, [operand]) => {
                self.value(operand);
                Ty::Bool
            }
            (operators::NEGATE, [operand]) => match self.value(operand) {
                ty @ (Ty::Int | Ty::Double | Ty::Dyn) => ty,
                ty => self.find(id, format!("- takes an int or a double, got {ty}")),
            },
            (operators::INDEX, [container, index]) => self.index(id, container, index),
            (operators::IN, [item, container]) => self.contained(id, item, container),
            (operator, [left, right]) if operator.starts_with('_') => self.binary(id, operator, left, right),
            (name, args) => {
                let name = name.to_owned();
                self.function(id, &name, target.as_deref_mut(), args)
            }
        }
        .into()
    }

    fn expect_bool(&mut self, operator: &str, operand: &mut IdedExpr) -> Ty {
        let start = self.start(operand);
        match self.value(operand) {
            Ty::Bool | Ty::Dyn => {}
            ty => _ = self.find_at(start, format!("{operator} takes bool, got {ty}")),
        }
        Ty::Bool
    }

    fn logical(&mut self, operator: &str, left: &mut IdedExpr, right: &mut IdedExpr) -> Ty {
        self.expect_bool(operator, left);
        self.expect_bool(operator, right)
    }

    /// Comparisons and arithmetic; `operator` as CEL names it: `_<=_`.
    fn binary(&mut self, id: u64, operator: &str, left: &mut IdedExpr, right: &mut IdedExpr) -> Ty {
        let (a, b) = (self.value(left), self.value(right));
        let sign = operator.trim_matches('_');
        match operator {
            operators::EQUALS | operators::NOT_EQUALS => {
                self.check_symbol(&a, right);
                self.check_symbol(&b, left);
                if !a.meets(&b) {
                    self.find(id, format!("{a} {sign} {b} is never equal"));
                }
                Ty::Bool
            }
            operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
                if !a.orders(&b) {
                    self.find(id, format!("{a} {sign} {b} cannot be compared"));
                }
                Ty::Bool
            }
            _ => arithmetic(operator, &a, &b).unwrap_or_else(|| {
                let hint = if a.is_number() && b.is_number() { ": convert one, as in double(x)" } else { "" };
                self.find(id, format!("{a} {sign} {b} is not defined{hint}"))
            }),
        }
    }

    fn index(&mut self, id: u64, container: &mut IdedExpr, index: &mut IdedExpr) -> Ty {
        let (of, by) = (self.value(container), self.value(index));
        match of {
            Ty::List(item) if by.is_number() => *item,
            Ty::Map(key, value) if key.meets(&by) => *value,
            Ty::Dyn => Ty::Dyn,
            of => self.find(id, format!("{of}[{by}] is not defined")),
        }
    }

    /// `item in container`. A list of constants is made once.
    fn contained(&mut self, id: u64, item: &mut IdedExpr, container: &mut IdedExpr) -> Ty {
        let (item, of) = (self.value(item), self.value(container));
        if let Expr::List(list) = &mut container.expr {
            list.elements.iter_mut().for_each(|element| self.check_symbol(&item, element));
        }
        let fits = match &of {
            Ty::List(element) => element.meets(&item),
            Ty::Map(key, _) => key.meets(&item),
            Ty::Dyn => true,
            of => {
                self.find(id, format!("`in` takes a list or a map on its right, got {of}"));
                return Ty::Bool;
            }
        };
        if !fits {
            self.find(id, format!("{item} is never in {of}"));
        }
        self.fold(container);
        Ty::Bool
    }

    fn fold(&mut self, list: &mut IdedExpr) {
        let Expr::List(items) = &list.expr else { return };
        let values = items.elements.iter().map(|element| match &element.expr {
            Expr::Literal(literal) => Some(literal_value(literal)),
            _ => None,
        });
        if let Some(values) = values.collect::<Option<Vec<_>>>() {
            list.expr = symbol(Symbol::Constant(self.symbols.constant(Box::new(CelList::from(values)))));
        }
    }

    /// A constant beside an enum must be one of its symbols.
    fn check_symbol(&mut self, ty: &Ty, beside: &IdedExpr) {
        let (Ty::Enum(node), Expr::Literal(LiteralValue::String(text))) = (ty, &beside.expr) else { return };
        let millrace_schema::Kind::Enum(it) = &self.schema.node(*node).kind else { return };
        if !it.symbols.iter().any(|symbol| symbol == text.inner()) {
            let message = format!("`{}` has no symbol {:?}: {}", it.name.simple(), text.inner(), it.symbols.join(", "));
            self.find(beside.id, message);
        }
    }

    fn function(&mut self, id: u64, name: &str, target: Option<&mut IdedExpr>, args: &mut [IdedExpr]) -> Ty {
        let on_target = target.is_some();
        let count = args.len();
        let types: Vec<Ty> = target.into_iter().chain(args.iter_mut()).map(|arg| self.value(arg)).collect();
        let Some(usage) = function::usage(name, on_target) else {
            return self.find(id, format!("unknown function `{name}`"));
        };
        let method_only = matches!(name, "contains" | "endsWith" | "startsWith");
        match function::result(name, &types) {
            Some(ty) if on_target || !method_only => {
                if name == "matches"
                    && let Some(pattern) = args.get_mut(count - 1)
                {
                    self.pattern(pattern);
                }
                ty
            }
            _ => {
                let types: Vec<String> = types.iter().map(ToString::to_string).collect();
                self.find(id, format!("`{name}` is not defined for ({}): {usage}", types.join(", ")))
            }
        }
    }

    /// A constant pattern is compiled here, and a broken one refused.
    fn pattern(&mut self, arg: &mut IdedExpr) {
        let Expr::Literal(LiteralValue::String(text)) = &arg.expr else { return };
        match regex::Regex::new(text.inner()) {
            Ok(regex) => {
                let constant = self.symbols.constant(Box::new(Pattern(Arc::new(regex))));
                arg.expr = symbol(Symbol::Constant(constant));
            }
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.find(arg.id, format!("not a regular expression: {reason}"));
            }
        }
    }
}

/// `event['f']` is `event.f`: the call becomes the select.
fn becomes_select(expr: &mut IdedExpr) -> bool {
    let Expr::Call(call) = &mut expr.expr else { return false };
    let [container, IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. }] = call.args.as_mut_slice()
    else {
        return false;
    };
    let starts_at_event = |mut it: &Expr| loop {
        match it {
            Expr::Ident(name) => return name == "event",
            Expr::Select(select) => it = &select.operand.expr,
            Expr::Call(call) if call.func_name == operators::INDEX => it = &call.args[0].expr,
            _ => return false,
        }
    };
    if call.func_name != operators::INDEX || !starts_at_event(&container.expr) {
        return false;
    }
    let (operand, field) = (Box::new(std::mem::take(container)), field.inner().to_owned());
    expr.expr = Expr::Select(SelectExpr { operand, field, test: false });
    true
}

fn arithmetic(operator: &str, a: &Ty, b: &Ty) -> Option<Ty> {
    match (operator, a, b) {
        (operators::ADD, Ty::List(_), Ty::List(_)) => Some(a.clone().join(b.clone())),
        (operators::ADD, Ty::Dyn, _) | (_, Ty::Dyn, Ty::Int | Ty::Uint | Ty::Double | Ty::Dyn) => Some(b.clone()),
        (operators::ADD, _, Ty::Dyn) | (_, Ty::Int | Ty::Uint | Ty::Double, Ty::Dyn) => Some(a.clone()),
        (operators::ADD, a, b) if a.is_text() && b.is_text() => Some(Ty::String),
        (operators::ADD, Ty::Bytes, Ty::Bytes) => Some(Ty::Bytes),
        (operators::MODULO, Ty::Double, Ty::Double) => None,
        (_, a, b) if a == b && a.is_number() => Some(a.clone()),
        _ => None,
    }
}
