//! The type checker that `cel` has not: walks the parsed rule, says what cannot be right and where, and puts symbols in
//! the place of fields and constants as it goes.

mod call;
mod function;

use cel::{
    IdedExpr,
    common::{
        ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, SourceInfo, operators},
        value::Val,
    },
    parser::Parser,
};
use millrace_schema::{FieldPath, Schema};

use crate::{
    symbols::{Symbol, Symbols},
    ty::Ty,
};

/// The names of CEL's types, which are values in it.
const TYPES: [&str; 10] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// Something wrong in a rule: the character, from 0, and a sentence.
pub(crate) type Finding = (usize, String);

/// Reads a rule and checks it against the schema of `event`. The result refers to the event by `symbols` only.
pub(crate) fn check(text: &str, schema: &Schema, symbols: &mut Symbols) -> Result<IdedExpr, Vec<Finding>> {
    let (mut expr, source) = Parser::default().parse_with_source_info(text).map_err(|errors| {
        errors.errors.into_iter().map(|error| (offset_of(text, error.pos), error.msg)).collect::<Vec<_>>()
    })?;
    let mut checker = Checker { schema, symbols, source, scopes: Vec::new(), findings: Vec::new() };
    let ty = checker.value(&mut expr);
    if checker.findings.is_empty() && !matches!(ty, Ty::Bool | Ty::Dyn) {
        checker.findings.push((0, format!("a condition must be bool, this is {ty}")));
    }
    if checker.findings.is_empty() { Ok(expr) } else { Err(checker.findings) }
}

/// The character that a line and a column, both from 1, stand for.
fn offset_of(text: &str, (line, column): (isize, isize)) -> usize {
    let before = usize::try_from(line - 1).unwrap_or(0);
    let lines: usize = text.split_inclusive('\n').take(before).map(|line| line.chars().count()).sum();
    (lines + usize::try_from(column - 1).unwrap_or(0)).min(text.chars().count())
}

struct Checker<'a> {
    schema: &'a Schema,
    symbols: &'a mut Symbols,
    source: SourceInfo,
    /// Variables of the comprehensions around, innermost last.
    scopes: Vec<(String, Ty)>,
    findings: Vec<Finding>,
}

/// What an expression is, before it is used as a value: a path into the event may go on.
struct Typed {
    ty: Ty,
    path: Option<FieldPath>,
}

impl From<Ty> for Typed {
    fn from(ty: Ty) -> Self {
        Self { ty, path: None }
    }
}

impl Checker<'_> {
    /// The type of an expression that is used as a value.
    fn value(&mut self, expr: &mut IdedExpr) -> Ty {
        let typed = self.walk(expr);
        self.settle(expr, typed)
    }

    /// Ends a path into the event: the expression becomes its symbol.
    fn settle(&mut self, expr: &mut IdedExpr, typed: Typed) -> Ty {
        match typed.path {
            None => typed.ty,
            Some(path) if path.is_empty() => {
                self.find(expr.id, "`event` is the whole record: name one of its fields".to_owned())
            }
            Some(path) => {
                expr.expr = symbol(Symbol::Field(self.symbols.field(&path)));
                typed.ty
            }
        }
    }

    fn walk(&mut self, expr: &mut IdedExpr) -> Typed {
        let id = expr.id;
        match &mut expr.expr {
            Expr::Literal(literal) => literal_type(literal).into(),
            Expr::Ident(name) => {
                let name = name.clone();
                self.ident(expr, &name)
            }
            Expr::Select(_) => self.select(expr),
            Expr::Call(_) => self.call(expr),
            Expr::List(list) => {
                let items = list.elements.iter_mut().map(|item| self.value(item)).reduce(Ty::join);
                Ty::List(Box::new(items.unwrap_or(Ty::Dyn))).into()
            }
            Expr::Map(map) => {
                let mut of = (Ty::Null, Ty::Null); // joins with anything
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        of = (of.0.join(self.value(&mut entry.key)), of.1.join(self.value(&mut entry.value)));
                    }
                }
                Ty::Map(Box::new(of.0), Box::new(of.1)).into()
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension).into(),
            Expr::Struct(_) => self.find(id, "a rule cannot build messages".to_owned()).into(),
            Expr::Unspecified => self.find(id, "an expression is missing".to_owned()).into(),
        }
    }

    fn ident(&mut self, expr: &mut IdedExpr, name: &str) -> Typed {
        if let Some((_, ty)) = self.scopes.iter().rev().find(|(known, _)| known == name) {
            return ty.clone().into();
        }
        match name {
            "event" => Typed { ty: Ty::Record(self.schema.root()), path: Some(FieldPath::default()) },
            "score" => {
                expr.expr = symbol(Symbol::Score);
                Ty::Double.into()
            }
            _ if TYPES.contains(&name) => Ty::Type.into(),
            _ => {
                let is_field = self.schema.root_node().record().is_some_and(|record| record.field(name).is_some());
                let hint =
                    if is_field { format!("write `event.{name}`") } else { "known are `event`, `score`".to_owned() };
                self.find(expr.id, format!("unknown variable `{name}`: {hint}")).into()
            }
        }
    }

    /// `operand.field`, and `has(operand.field)`.
    fn select(&mut self, expr: &mut IdedExpr) -> Typed {
        let id = expr.id;
        let Expr::Select(select) = &mut expr.expr else { unreachable!("called for a select") };
        let test = select.test;
        let operand = self.walk(&mut select.operand);
        let typed = match operand.ty {
            Ty::Record(node) => {
                let record = self.schema.node(node).record().expect("the type of a record's node");
                let Some(field) = record.field(&select.field) else {
                    let message = format!("`{}` has no field `{}`", record.name.simple(), select.field);
                    return self.find_behind(id, message).into();
                };
                let path = operand.path.map(|path| FieldPath::from_segments(path.segments().chain([&*field.name])));
                Typed { ty: Ty::of(self.schema, field.node), path }
            }
            ty => {
                let path = operand.path;
                match self.settle(&mut select.operand, Typed { ty, path }) {
                    Ty::Dyn => Ty::Dyn.into(),
                    Ty::Map(key, value) if key.meets(&Ty::String) => (*value).into(),
                    ty => return self.find_behind(id, format!("{ty} has no field `{}`", select.field)).into(),
                }
            }
        };
        if !test {
            return typed;
        }
        if let Some(present) = self.presence(expr, &typed) {
            expr.expr = present;
        }
        Ty::Bool.into()
    }

    /// `has(x.f)` of a record: there and not null. Of a map it stays what CEL makes of it.
    fn presence(&mut self, expr: &IdedExpr, typed: &Typed) -> Option<Expr> {
        let Expr::Select(select) = &expr.expr else { return None };
        let node = |it: Expr| IdedExpr { id: expr.id, expr: it };
        let not_null = |it: Expr| binary(operators::NOT_EQUALS, node(it), node(Expr::Literal(LiteralValue::Null)));
        if let Some(path) = &typed.path {
            return Some(not_null(symbol(Symbol::Field(self.symbols.field(path)))));
        }
        let in_record = matches!(&select.operand.expr, Expr::Ident(name) if self.names_record(name));
        in_record.then(|| {
            let value = Expr::Select(SelectExpr { test: false, ..select.clone() });
            binary(operators::LOGICAL_AND, node(expr.expr.clone()), node(not_null(value)))
        })
    }

    /// Whether a comprehension's variable is a record of the event.
    fn names_record(&self, name: &str) -> bool {
        self.scopes.iter().rev().find(|(known, _)| known == name).is_some_and(|(_, ty)| matches!(ty, Ty::Record(_)))
    }

    /// What `all`, `exists`, `map` and the like become when they are parsed.
    fn comprehension(&mut self, it: &mut ComprehensionExpr) -> Ty {
        let start = self.start(&it.iter_range);
        let item = match self.value(&mut it.iter_range) {
            Ty::List(item) => *item,
            Ty::Map(key, _) => *key,
            Ty::Dyn => Ty::Dyn,
            ty => self.find_at(start, format!("expected a list or a map, got {ty}")),
        };
        if ["event", "score"].contains(&it.iter_var.as_str()) {
            let message = format!("`{}` is taken: name the items otherwise", it.iter_var);
            self.find_at(start, message);
        }
        let initial = self.value(&mut it.accu_init);
        let depth = self.scopes.len();
        self.scopes.push((it.accu_var.clone(), initial));
        self.scopes.push((it.iter_var.clone(), item));
        self.value(&mut it.loop_cond);
        let step = self.value(&mut it.loop_step);
        self.scopes[depth].1 = step;
        let result = self.value(&mut it.result);
        self.scopes.truncate(depth);
        result
    }

    /// Notes a finding at a node. The type is then anything: one mistake is told once.
    fn find(&mut self, id: u64, message: String) -> Ty {
        self.find_at(self.byte(id), message)
    }

    /// As [`Checker::find`], at the name behind a select's dot.
    fn find_behind(&mut self, id: u64, message: String) -> Ty {
        let dot = self.byte(id);
        let behind = dot + usize::from(self.source.source.get(dot..).is_some_and(|rest| rest.starts_with('.')));
        self.find_at(behind, message)
    }

    fn find_at(&mut self, byte: usize, message: String) -> Ty {
        let characters = self.source.source.get(..byte).map_or(0, |before| before.chars().count());
        self.findings.push((characters, message));
        Ty::Dyn
    }

    /// Where a node is: of an operator its sign, of a select its dot.
    fn byte(&self, id: u64) -> usize {
        self.source.offset_for(id).map_or(0, |(start, _)| start as usize)
    }

    /// Where an expression begins. To be asked before it is walked, which puts symbols in the place of its parts.
    fn start(&self, expr: &IdedExpr) -> usize {
        let first = match &expr.expr {
            Expr::Select(select) => Some(&*select.operand),
            Expr::Call(call) => call.target.as_deref().or(call.args.first()),
            Expr::Comprehension(it) => Some(&it.iter_range),
            _ => None,
        };
        self.byte(expr.id).min(first.map_or(usize::MAX, |first| self.start(first)))
    }
}

fn symbol(symbol: Symbol) -> Expr {
    Expr::Ident(symbol.to_string())
}

fn binary(operator: &str, left: IdedExpr, right: IdedExpr) -> Expr {
    Expr::Call(CallExpr { func_name: operator.to_owned(), target: None, args: vec![left, right] })
}

fn literal_type(literal: &LiteralValue) -> Ty {
    match literal {
        LiteralValue::Boolean(_) => Ty::Bool,
        LiteralValue::Bytes(_) => Ty::Bytes,
        LiteralValue::Double(_) => Ty::Double,
        LiteralValue::Int(_) => Ty::Int,
        LiteralValue::Null => Ty::Null,
        LiteralValue::String(_) => Ty::String,
        LiteralValue::UInt(_) => Ty::Uint,
    }
}

/// A literal as a value that owns what it holds.
fn literal_value(literal: &LiteralValue) -> Box<dyn Val> {
    match literal {
        LiteralValue::Boolean(it) => it.clone_as_boxed(),
        LiteralValue::Bytes(it) => it.clone_as_boxed(),
        LiteralValue::Double(it) => it.clone_as_boxed(),
        LiteralValue::Int(it) => it.clone_as_boxed(),
        LiteralValue::Null => Box::new(cel::common::types::CelNull),
        LiteralValue::String(it) => it.clone_as_boxed(),
        LiteralValue::UInt(it) => it.clone_as_boxed(),
    }
}

#[cfg(test)]
mod tests;
