//! One walk over the JSON: names are known from where they are defined.

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Number, Value};

use super::{
    ParseError, Pointer,
    attributes::{self, Object},
};
use crate::{Enum, Field, Fixed, Kind, Logical, Name, Node, NodeId, Order, Props, Record, Type, path::is_name};

#[derive(Default)]
pub(super) struct Parser {
    pub(super) nodes: Vec<Node>,
    /// Named types by full name.
    pub(super) names: FxHashMap<String, NodeId>,
    /// Primitive types without attributes: one node of each is enough.
    pub(super) plain: Vec<(Type, NodeId)>,
    /// Fields with a default, checked when all types are whole: record, place, pointer.
    pub(super) defaults: Vec<(NodeId, usize, String)>,
}

type Result<T> = std::result::Result<T, ParseError>;

impl Parser {
    /// Reads the schema at `at`, within the namespace `space`.
    pub(super) fn schema(&mut self, value: &Value, space: Option<&str>, at: Pointer<'_>) -> Result<NodeId> {
        match value {
            Value::String(name) => self.by_name(name, space, at),
            Value::Array(branches) => self.union(branches, space, at),
            Value::Object(object) => self.object(object, space, at),
            _ => Err(at.error("a schema is a name, an object or a list")),
        }
    }

    fn object(&mut self, object: &Object, space: Option<&str>, at: Pointer<'_>) -> Result<NodeId> {
        let ty = match object.get("type") {
            Some(Value::String(ty)) => ty.as_str(),
            Some(_) => return Err(at.key("type").error("the type of a schema is a name")),
            None => return Err(at.error("a schema needs a \"type\"")),
        };
        let props = attributes::schema_props(object);
        match ty {
            "record" | "error" => self.record(object, props, space, at),
            "enum" => self.enumeration(object, props, space, at),
            "fixed" => self.fixed(object, props, space, at),
            "array" => {
                let items = self.part(object, "items", space, at)?;
                Ok(self.push(Kind::Array(items), props))
            }
            "map" => {
                let values = self.part(object, "values", space, at)?;
                Ok(self.push(Kind::Map(values), props))
            }
            name => match Type::primitive(name) {
                Some(kind) if !props.is_empty() => Ok(self.push(kind, props)),
                _ => self.by_name(name, space, at.key("type")),
            },
        }
    }

    fn part(&mut self, object: &Object, key: &str, space: Option<&str>, at: Pointer<'_>) -> Result<NodeId> {
        match object.get(key) {
            Some(part) => self.schema(part, space, at.key(key)),
            None => Err(at.error(format!("this type needs {key:?}"))),
        }
    }

    /// A primitive type, or a type that was defined before. A simple name that the namespace does not have is looked
    /// up without one, as Java does.
    fn by_name(&mut self, name: &str, space: Option<&str>, at: Pointer<'_>) -> Result<NodeId> {
        if let Some(kind) = Type::primitive(name) {
            return Ok(self.plain(kind));
        }
        let full = Name::new(name, space);
        let known = self.names.get(full.full()).or_else(|| self.names.get(name));
        known.copied().ok_or_else(|| at.error(format!("type {:?} is not defined before its use", full.full())))
    }

    pub(super) fn plain(&mut self, kind: Kind) -> NodeId {
        let ty = kind.ty();
        if let Some((_, id)) = self.plain.iter().find(|(known, _)| *known == ty) {
            return *id;
        }
        let id = self.push(kind, Props::new());
        self.plain.push((ty, id));
        id
    }

    fn push(&mut self, kind: Kind, props: Props) -> NodeId {
        let logical = Logical::of(&kind, &props);
        self.nodes.push(Node { kind, logical, props });
        NodeId(self.nodes.len() as u32 - 1)
    }

    fn union(&mut self, list: &[Value], space: Option<&str>, at: Pointer<'_>) -> Result<NodeId> {
        let mut branches = Vec::with_capacity(list.len());
        let mut seen = FxHashSet::default();
        for (i, branch) in list.iter().enumerate() {
            let id = self.schema(branch, space, at.index(i))?;
            let node = &self.nodes[id.index()];
            if node.ty() == Type::Union {
                return Err(at.index(i).error("a union cannot hold a union"));
            }
            let name = node.name().map_or(node.ty().as_str(), Name::full);
            if !seen.insert(name.to_owned()) {
                return Err(at.index(i).error(format!("a union cannot hold {name} twice")));
            }
            branches.push(id);
        }
        Ok(self.push(Kind::Union(branches), Props::new()))
    }

    /// Makes `name` known before its parts are read, so that they may use it.
    fn define(&mut self, name: &Name, kind: Kind, props: Props, at: Pointer<'_>) -> Result<NodeId> {
        if self.names.contains_key(name.full()) {
            return Err(at.key("name").error(format!("type {:?} is defined already", name.full())));
        }
        let id = self.push(kind, props);
        self.names.insert(name.full().to_owned(), id);
        Ok(id)
    }

    fn record(&mut self, object: &Object, props: Props, space: Option<&str>, at: Pointer<'_>) -> Result<NodeId> {
        let name = attributes::full_name(object, space, at)?;
        let aliases = attributes::type_aliases(object, &name, at)?;
        let is_error = attributes::text(object, "type") == Some("error");
        let Some(Value::Array(list)) = object.get("fields") else {
            return Err(at.error("a record needs a list of \"fields\""));
        };
        let record = Record { name, aliases, doc: attributes::doc(object), fields: Vec::new(), is_error };
        let name = record.name.clone();
        let id = self.define(&name, Kind::Record(record), props, at)?;

        let mut fields: Vec<Field> = Vec::with_capacity(list.len());
        let mut seen = FxHashSet::default();
        for (i, value) in list.iter().enumerate() {
            let (list, place) = (at.key("fields"), i);
            let at = list.index(place);
            let field = self.field(value, name.namespace(), at)?;
            if !seen.insert(field.name.clone()) {
                return Err(at.key("name").error(format!("field {:?} is there already", field.name)));
            }
            if field.default.is_some() {
                self.defaults.push((id, i, at.key("default").to_string()));
            }
            fields.push(field);
        }
        if let Kind::Record(record) = &mut self.nodes[id.index()].kind {
            record.fields = fields;
        }
        Ok(id)
    }

    fn field(&mut self, value: &Value, space: Option<&str>, at: Pointer<'_>) -> Result<Field> {
        let Value::Object(object) = value else { return Err(at.error("a field is an object")) };
        let name = attributes::text(object, "name").ok_or_else(|| at.error("a field needs a \"name\""))?;
        if !is_name(name) {
            return Err(at
                .key("name")
                .error(format!("{name:?} is not a name: a letter or _, then letters, digits and _")));
        }
        let Some(ty) = object.get("type") else { return Err(at.error("a field needs a \"type\"")) };
        let node = self.schema(ty, space, at.key("type"))?;
        Ok(Field {
            name: name.to_owned(),
            aliases: attributes::field_aliases(object, at)?,
            doc: attributes::doc(object),
            node,
            default: object.get("default").map(|default| self.tidy_default(node, default)),
            order: order(object, at)?,
            props: attributes::field_props(object),
        })
    }

    /// Java reads a text as the default of a float or a double; only NaN and the infinities stay texts in its output.
    fn tidy_default(&self, node: NodeId, default: &Value) -> Value {
        let is_floating = matches!(self.nodes[node.index()].ty(), Type::Float | Type::Double);
        let number = default.as_str().filter(|_| is_floating).and_then(|text| text.trim().parse::<f64>().ok());
        number.and_then(Number::from_f64).map_or_else(|| default.clone(), Value::Number)
    }

    fn enumeration(&mut self, object: &Object, props: Props, space: Option<&str>, at: Pointer<'_>) -> Result<NodeId> {
        let name = attributes::full_name(object, space, at)?;
        let aliases = attributes::type_aliases(object, &name, at)?;
        let Some(Value::Array(list)) = object.get("symbols") else {
            return Err(at.error("an enum needs a list of \"symbols\""));
        };
        let mut symbols: Vec<String> = Vec::with_capacity(list.len());
        let mut seen = FxHashSet::default();
        for (i, symbol) in list.iter().enumerate() {
            let wrong = |message: String| at.key("symbols").index(i).error(message);
            let symbol = symbol.as_str().filter(|symbol| is_name(symbol));
            let symbol =
                symbol.ok_or_else(|| wrong("a symbol is a name: a letter or _, then letters, digits and _".into()))?;
            if !seen.insert(symbol) {
                return Err(wrong(format!("symbol {symbol:?} is there already")));
            }
            symbols.push(symbol.to_owned());
        }
        let default = attributes::text(object, "default").map(str::to_owned);
        if let Some(default) = default.as_ref().filter(|default| !symbols.contains(default)) {
            return Err(at.key("default").error(format!("{default:?} is not among the symbols")));
        }
        let full = name.clone();
        let kind = Kind::Enum(Enum { name, aliases, doc: attributes::doc(object), symbols, default });
        self.define(&full, kind, props, at)
    }

    fn fixed(&mut self, object: &Object, props: Props, space: Option<&str>, at: Pointer<'_>) -> Result<NodeId> {
        let name = attributes::full_name(object, space, at)?;
        let aliases = attributes::type_aliases(object, &name, at)?;
        let size = object.get("size").and_then(Value::as_u64).and_then(|size| i32::try_from(size).ok());
        let size = size.ok_or_else(|| at.error("a fixed needs a \"size\", a number from 0 to 2147483647"))? as usize;
        let full = name.clone();
        self.define(&full, Kind::Fixed(Fixed { name, aliases, doc: attributes::doc(object), size }), props, at)
    }
}

fn order(object: &Object, at: Pointer<'_>) -> Result<Order> {
    match attributes::text(object, "order").map(str::to_ascii_lowercase).as_deref() {
        None | Some("ascending") => Ok(Order::Ascending),
        Some("descending") => Ok(Order::Descending),
        Some("ignore") => Ok(Order::Ignore),
        Some(_) => Err(at.key("order").error("an order is ascending, descending or ignore")),
    }
}
