//! The functions that a rule may call: those of CEL's standard library without times.

use crate::ty::Ty;

/// The type of a call's result. `args` begins with the target of a call on a value. `None`: not for such arguments.
pub(super) fn result(name: &str, args: &[Ty]) -> Option<Ty> {
    let ty = match (name, args) {
        ("size", [Ty::String | Ty::Enum(_) | Ty::Bytes | Ty::List(_) | Ty::Map(..) | Ty::Dyn])
        | ("int", [Ty::Int | Ty::Uint | Ty::Double | Ty::String | Ty::Enum(_) | Ty::Dyn]) => Ty::Int,
        ("contains" | "endsWith" | "matches" | "startsWith", [a, b]) if a.is_text() && b.is_text() => Ty::Bool,
        ("bool", [Ty::Bool | Ty::String | Ty::Enum(_) | Ty::Dyn]) => Ty::Bool,
        ("bytes", [Ty::String | Ty::Enum(_) | Ty::Bytes | Ty::Dyn]) => Ty::Bytes,
        ("double", [Ty::Int | Ty::Uint | Ty::Double | Ty::String | Ty::Enum(_) | Ty::Dyn]) => Ty::Double,
        ("string", [Ty::Bool | Ty::Int | Ty::Uint | Ty::Double | Ty::Bytes | Ty::Dyn]) => Ty::String,
        ("uint", [Ty::Int | Ty::Uint | Ty::Double | Ty::String | Ty::Enum(_) | Ty::Dyn]) => Ty::Uint,
        ("dyn", [_]) => Ty::Dyn,
        ("type", [_]) => Ty::Type,
        _ => return None,
    };
    Some(ty)
}

/// How a function is written, or `None` when there is none of that name.
pub(super) fn usage(name: &str, on_target: bool) -> Option<&'static str> {
    Some(match (name, on_target) {
        ("size", _) => "size(x) and x.size() take a string, bytes, a list or a map",
        ("contains", true) => "x.contains(y) takes strings",
        ("endsWith", true) => "x.endsWith(y) takes strings",
        ("startsWith", true) => "x.startsWith(y) takes strings",
        ("matches", _) => "x.matches(pattern) takes strings",
        ("bool", false) => "bool(x) takes a string or a bool",
        ("bytes", false) => "bytes(x) takes a string or bytes",
        ("double", false) => "double(x) takes a number or a string",
        ("int", false) => "int(x) takes a number or a string",
        ("string", false) => "string(x) takes a number, a bool or bytes",
        ("uint", false) => "uint(x) takes a number or a string",
        ("dyn", false) => "dyn(x) takes one value",
        ("type", false) => "type(x) takes one value",
        ("contains" | "endsWith" | "startsWith", false) => "it is called on a string: x.contains(y)",
        ("all" | "exists" | "exists_one" | "existsOne" | "map" | "filter", _) => {
            "it is called on a list or a map with a name and an expression: list.exists(x, x > 1)"
        }
        ("has", _) => "it takes a field: has(event.f)",
        _ => return None,
    })
}
