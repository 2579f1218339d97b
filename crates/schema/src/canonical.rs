//! The Parsing Canonical Form, and the fingerprint over it.

use rustc_hash::FxHashSet;

use crate::{Kind, NodeId, Schema};

/// Only what matters for reading bytes: names in full, and the attributes type, name, fields, symbols, items, values
/// and size, in the specification's order and without spaces.
pub(crate) fn render(schema: &Schema) -> String {
    let mut out = String::new();
    Renderer { schema, seen: FxHashSet::default() }.node(schema.root(), &mut out);
    out
}

struct Renderer<'a> {
    schema: &'a Schema,
    seen: FxHashSet<NodeId>,
}

impl Renderer<'_> {
    fn node(&mut self, id: NodeId, out: &mut String) {
        let node = self.schema.node(id);
        if let Some(name) = node.name() {
            if !self.seen.insert(id) {
                return quote(name.full(), out);
            }
            out.push_str("{\"name\":");
            quote(name.full(), out);
            out.push_str(",\"type\":");
            quote(node.ty().as_str(), out);
        }
        match &node.kind {
            Kind::Array(items) => self.part("array", "items", *items, out),
            Kind::Map(values) => self.part("map", "values", *values, out),
            Kind::Union(branches) => list(branches, out, |branch, out| self.node(*branch, out)),
            Kind::Record(record) => {
                out.push_str(",\"fields\":");
                list(&record.fields, out, |field, out| {
                    out.push_str("{\"name\":");
                    quote(&field.name, out);
                    out.push_str(",\"type\":");
                    self.node(field.node, out);
                    out.push('}');
                });
                out.push('}');
            }
            Kind::Enum(it) => {
                out.push_str(",\"symbols\":");
                list(&it.symbols, out, |symbol, out| quote(symbol, out));
                out.push('}');
            }
            Kind::Fixed(it) => {
                out.push_str(",\"size\":");
                out.push_str(&it.size.to_string());
                out.push('}');
            }
            primitive => quote(primitive.ty().as_str(), out),
        }
    }

    fn part(&mut self, ty: &str, key: &str, part: NodeId, out: &mut String) {
        out.push_str("{\"type\":");
        quote(ty, out);
        out.push(',');
        quote(key, out);
        out.push(':');
        self.node(part, out);
        out.push('}');
    }
}

/// Names need no escapes: the parser lets only letters, digits, `_` and dots through.
fn quote(name: &str, out: &mut String) {
    out.push('"');
    out.push_str(name);
    out.push('"');
}

fn list<T>(items: &[T], out: &mut String, mut one: impl FnMut(&T, &mut String)) {
    out.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        one(item, out);
    }
    out.push(']');
}

/// CRC-64-AVRO: the specification's 64-bit Rabin fingerprint.
pub(crate) fn rabin(text: &[u8]) -> u64 {
    text.iter().fold(EMPTY, |hash, &byte| (hash >> 8) ^ TABLE[((hash ^ u64::from(byte)) & 0xff) as usize])
}

const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

const TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut hash = i as u64;
        let mut bit = 0;
        while bit < 8 {
            hash = (hash >> 1) ^ (EMPTY & (hash & 1).wrapping_neg());
            bit += 1;
        }
        table[i] = hash;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind; the whole list of the specification runs in `tests/it/vectors.rs` where its file is found.
    #[test]
    fn schemas_have_the_form_and_the_fingerprint_of_the_specification() {
        for (text, canonical, fingerprint) in [
            (r#"{"type":"null"}"#, r#""null""#, 7_195_948_357_588_979_594_i64),
            ("[  ]", "[]", -1_241_056_759_729_112_623),
            (
                r#"{"fields":[], "type":"record", "name":"a.b.foo", "namespace":"x.y", "doc":"d", "aliases":["bar"]}"#,
                r#"{"name":"a.b.foo","type":"record","fields":[]}"#,
                -4_616_218_487_480_524_110,
            ),
            (
                r#"{"fields":[{"type":"boolean", "aliases":[], "name":"f1", "default":true},
                    {"order":"descending","name":"f2","doc":"Hello","type":"int"}], "type":"record", "name":"foo"}"#,
                r#"{"name":"foo","type":"record","fields":[{"name":"f1","type":"boolean"},{"name":"f2","type":"int"}]}"#,
                -4_860_222_112_080_293_046,
            ),
            (
                r#"{"namespace":"x.y.z", "type":"fixed", "name":"foo", "doc":"foo bar", "size":32}"#,
                r#"{"name":"x.y.z.foo","type":"fixed","size":32}"#,
                -3_064_184_465_700_546_786,
            ),
            (
                r#"{"name":"PigValue","type":"record","fields":[{"name":"value", "type":["null", "int", "long", "PigValue"]}]}"#,
                r#"{"name":"PigValue","type":"record","fields":[{"name":"value","type":["null","int","long","PigValue"]}]}"#,
                -1_759_257_747_318_642_341,
            ),
        ] {
            let schema = Schema::parse(text).unwrap();
            assert_eq!(schema.canonical(), canonical);
            assert_eq!(schema.rabin(), fingerprint as u64, "{text}");
        }
    }
}
