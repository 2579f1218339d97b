//! The text that Java's `Schema.toString()` gives: what registries store and take the GUID of.
//!
//! Compact JSON with the attributes in Java's order, namespaces only where they change, and the escapes and number
//! forms of Jackson.

mod json;

use rustc_hash::FxHashSet;

use crate::{Enum, Field, Fixed, Kind, Name, Node, NodeId, Order, Props, Record, Schema, Type};
use json::{string, value};

/// What is written for a type that came with a reference.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum References {
    /// Its name: the form that registries store.
    Named,
    /// Its definition, at the first use.
    Inlined,
}

pub(crate) fn render(schema: &Schema, references: References) -> String {
    render_within(schema, references, None)
}

/// As `render`, for a text that will stand inside the namespace `space`.
pub(crate) fn render_within(schema: &Schema, references: References, space: Option<&str>) -> String {
    let mut renderer = Renderer { schema, references, seen: FxHashSet::default(), out: String::new() };
    renderer.node(schema.root(), space);
    renderer.out
}

struct Renderer<'a> {
    schema: &'a Schema,
    references: References,
    seen: FxHashSet<NodeId>,
    out: String,
}

impl<'a> Renderer<'a> {
    fn node(&mut self, id: NodeId, space: Option<&str>) {
        let node = self.schema.node(id);
        if let Some(name) = node.name() {
            // The root is always written out, also where a schema of references is shown by itself.
            let by_name =
                self.references == References::Named && self.schema.is_referenced(id) && id != self.schema.root();
            if by_name || !self.seen.insert(id) {
                return string(reference(name, space), &mut self.out);
            }
        }
        match &node.kind {
            Kind::Record(it) => self.record(it, &node.props, space),
            Kind::Enum(it) => self.enumeration(it, &node.props, space),
            Kind::Fixed(it) => self.fixed(it, &node.props, space),
            Kind::Array(part) => self.part(node, "items", *part, space),
            Kind::Map(part) => self.part(node, "values", *part, space),
            Kind::Union(branches) => self.list(branches, |this, branch| this.node(*branch, space)),
            _ if node.props.is_empty() => string(node.ty().as_str(), &mut self.out),
            _ => {
                self.open(node.ty().as_str());
                self.close(&node.props);
            }
        }
    }

    fn open(&mut self, ty: &str) {
        self.out.push_str("{\"type\":");
        string(ty, &mut self.out);
    }

    fn close(&mut self, props: &Props) {
        for (key, prop) in props {
            self.key(key);
            value(prop, &mut self.out);
        }
        self.out.push('}');
    }

    fn key(&mut self, key: &str) {
        self.out.push(',');
        string(key, &mut self.out);
        self.out.push(':');
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        string(text, &mut self.out);
    }

    fn list<T>(&mut self, items: &'a [T], mut one: impl FnMut(&mut Self, &'a T)) {
        self.out.push('[');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            one(self, item);
        }
        self.out.push(']');
    }

    fn part(&mut self, node: &'a Node, key: &str, part: NodeId, space: Option<&str>) {
        self.open(node.ty().as_str());
        self.key(key);
        self.node(part, space);
        self.close(&node.props);
    }

    fn name(&mut self, name: &Name, space: Option<&str>) {
        self.text("name", name.simple());
        if name.namespace() != space {
            self.text("namespace", name.namespace().unwrap_or(""));
        }
    }

    fn doc(&mut self, doc: Option<&str>) {
        if let Some(doc) = doc {
            self.text("doc", doc);
        }
    }

    fn record(&mut self, record: &'a Record, props: &Props, space: Option<&str>) {
        self.open(if record.is_error { "error" } else { "record" });
        self.name(&record.name, space);
        self.doc(record.doc.as_deref());
        self.key("fields");
        self.list(&record.fields, |this, field| this.field(field, record.name.namespace()));
        self.end(&record.name, &record.aliases, props);
    }

    fn enumeration(&mut self, it: &'a Enum, props: &Props, space: Option<&str>) {
        self.open("enum");
        self.name(&it.name, space);
        self.doc(it.doc.as_deref());
        self.key("symbols");
        self.list(&it.symbols, |this, symbol| string(symbol, &mut this.out));
        if let Some(default) = &it.default {
            self.text("default", default);
        }
        self.end(&it.name, &it.aliases, props);
    }

    fn fixed(&mut self, it: &'a Fixed, props: &Props, space: Option<&str>) {
        self.open("fixed");
        self.name(&it.name, space);
        self.doc(it.doc.as_deref());
        self.key("size");
        self.out.push_str(&it.size.to_string());
        self.end(&it.name, &it.aliases, props);
    }

    /// A named type ends with its other attributes, then its aliases.
    fn end(&mut self, name: &Name, aliases: &'a [Name], props: &Props) {
        for (key, prop) in props {
            self.key(key);
            value(prop, &mut self.out);
        }
        if !aliases.is_empty() {
            self.key("aliases");
            self.list(aliases, |this, alias| string(reference(alias, name.namespace()), &mut this.out));
        }
        self.out.push('}');
    }

    fn field(&mut self, field: &'a Field, space: Option<&str>) {
        self.out.push_str("{\"name\":");
        string(&field.name, &mut self.out);
        self.key("type");
        self.node(field.node, space);
        self.doc(field.doc.as_deref());
        if let Some(default) = &field.default {
            self.key("default");
            value(default, &mut self.out);
        }
        if field.order != Order::Ascending {
            self.text("order", field.order.as_str());
        }
        if !field.aliases.is_empty() {
            self.key("aliases");
            self.list(&field.aliases, |this, alias| string(alias, &mut this.out));
        }
        self.close(&field.props);
    }
}

/// A name as it is used within `space`: simple where that is the same type, and in full where the simple name would be
/// another type's.
fn reference<'a>(name: &'a Name, space: Option<&str>) -> &'a str {
    if name.namespace() == space && !is_type_name(name.simple()) { name.simple() } else { name.full() }
}

fn is_type_name(name: &str) -> bool {
    Type::primitive(name).is_some() || ["record", "enum", "array", "map", "union", "fixed"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        Schema::parse(text).unwrap().java_string()
    }

    #[test]
    fn attributes_come_in_javas_order() {
        let text = r#"{"zeta":1,"fields":[{"order":"IGNORE","extra":[1.50,{"b":null}],"default":1,"doc":"d","aliases":["y","y"],
            "type":{"logicalType":"date","type":"int"},"name":"x"}],"aliases":["Old","q.Older"],"doc":"D","name":"p.R","type":"record"}"#;
        assert_eq!(
            rendered(text),
            r#"{"type":"record","name":"R","namespace":"p","doc":"D","fields":[{"name":"x","type":{"type":"int","logicalType":"date"},"doc":"d","default":1,"order":"ignore","aliases":["y"],"extra":[1.5,{"b":null}]}],"zeta":1,"aliases":["Old","q.Older"]}"#
        );
    }

    #[test]
    fn namespaces_appear_where_they_change() {
        let text = r#"{"type":"record","name":"A","namespace":"x","fields":[
            {"name":"b","type":{"type":"record","name":"B","namespace":"","fields":[{"name":"a","type":"x.A"}]}},
            {"name":"c","type":{"type":"fixed","name":"C","namespace":"x","size":3}},
            {"name":"d","type":"C"},{"name":"e","type":"B"}]}"#;
        assert_eq!(
            rendered(text),
            r#"{"type":"record","name":"A","namespace":"x","fields":[{"name":"b","type":{"type":"record","name":"B","namespace":"","fields":[{"name":"a","type":"x.A"}]}},{"name":"c","type":{"type":"fixed","name":"C","size":3}},{"name":"d","type":"C"},{"name":"e","type":"B"}]}"#
        );
    }

    #[test]
    fn plain_forms_are_shortened_and_kept_apart_from_others() {
        assert_eq!(rendered(r#"{"type":"string"}"#), r#""string""#);
        assert_eq!(
            rendered(r#"{"avro.java.string":"String","type":"string"}"#),
            r#"{"type":"string","avro.java.string":"String"}"#
        );
        assert_eq!(
            rendered(r#"{"default":[],"items":"int","type":"array","doc":"lost"}"#),
            r#"{"type":"array","items":"int","default":[]}"#
        );
        assert_eq!(
            rendered(r#"{"default":"A","name":"E","symbols":["A"],"type":"enum"}"#),
            r#"{"type":"enum","name":"E","symbols":["A"],"default":"A"}"#
        );
    }
}
