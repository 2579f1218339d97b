use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Number, Value};

use super::{Fault, Faults};

/// The text of a document as a value, with the line and column of everything in it. YAML, and so JSON as well.
#[derive(Clone, Debug)]
pub struct Source {
    file: String,
    value: Value,
    /// By JSON pointer: (line, column), both from 1.
    places: HashMap<String, (usize, usize)>,
}

impl Source {
    /// Reads a text that holds exactly one document. `file` is its name in faults.
    pub fn parse(file: &str, text: &str) -> Result<Self, Faults> {
        let mut source = Self { file: file.to_owned(), value: Value::Null, places: HashMap::new() };
        let documents = MarkedYaml::load_from_str(text).map_err(|error| {
            let at = error.marker();
            source.places.insert(String::new(), (at.line(), at.col() + 1));
            Faults::from(source.fault("", format!("not YAML: {}", error.info())))
        })?;
        let [document] = documents.as_slice() else {
            let found = documents.len();
            return Err(source.fault("", format!("expected one document in the file, got {found}")).into());
        };
        let mut faults = Vec::new();
        source.value = source.convert(document, "", &mut faults);
        Faults(faults).into_result().map(|()| source)
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Faults> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let source = Self { file: file.clone(), value: Value::Null, places: HashMap::new() };
            Faults::from(source.fault("", format!("cannot be read: {error}")))
        })?;
        Self::parse(&file, &text)
    }

    /// The name that faults carry.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The document as JSON has it.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// A fault at the place that a JSON pointer names (`/spec/policy/0/when`), or at the nearest that is there.
    pub fn fault(&self, pointer: &str, message: impl Into<String>) -> Fault {
        let (line, column) = self.place(pointer);
        Fault { file: self.file.clone(), path: dotted(pointer), line, column, message: message.into() }
    }

    fn place(&self, pointer: &str) -> (usize, usize) {
        let mut at = pointer;
        loop {
            match (self.places.get(at), at.rfind('/')) {
                (Some(place), _) => return *place,
                (None, Some(parent)) => at = &at[..parent],
                (None, None) => return (1, 1),
            }
        }
    }

    fn convert(&mut self, node: &MarkedYaml<'_>, pointer: &str, faults: &mut Vec<Fault>) -> Value {
        let start = node.span.start;
        self.places.entry(pointer.to_owned()).or_insert((start.line(), start.col() + 1));
        match &node.data {
            YamlData::Value(scalar) => self.scalar(scalar, pointer, faults),
            YamlData::Sequence(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    values.push(self.convert(item, &child(pointer, &i.to_string()), faults));
                }
                Value::Array(values)
            }
            YamlData::Mapping(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let Some(name) = key.data.as_str() else {
                        let message = "a field's name must be text; put it in quotes";
                        faults.push(self.fault(pointer, message));
                        continue;
                    };
                    let pointer = child(pointer, name);
                    // A field is where its name stands: that is what a person looks for.
                    self.places.insert(pointer.clone(), (key.span.start.line(), key.span.start.col() + 1));
                    let value = self.convert(value, &pointer, faults);
                    map.insert(name.to_owned(), value);
                }
                Value::Object(map)
            }
            YamlData::Tagged(..) => {
                faults.push(self.fault(pointer, "YAML tags are not used here"));
                Value::Null
            }
            YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
                faults.push(self.fault(pointer, "not a value"));
                Value::Null
            }
        }
    }

    fn scalar(&self, scalar: &Scalar<'_>, pointer: &str, faults: &mut Vec<Fault>) -> Value {
        match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(flag) => Value::Bool(*flag),
            Scalar::Integer(number) => Value::Number((*number).into()),
            Scalar::FloatingPoint(number) => Number::from_f64(number.into_inner()).map_or_else(
                || {
                    faults.push(self.fault(pointer, "expected a finite number"));
                    Value::Null
                },
                Value::Number,
            ),
            Scalar::String(text) => Value::String(text.to_string()),
        }
    }
}

/// The files of a folder that can be documents, by their names: `*.yaml`, `*.yml` and `*.json`, in order.
pub fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ext| ["yaml", "yml", "json"].iter().any(|known| ext == *known)))
        .collect();
    files.sort();
    files
}

/// The JSON pointer of a member.
pub(super) fn child(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", segment(name))
}

/// A name as a segment of a JSON pointer, escaped as RFC 6901 says.
pub fn segment(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// `/spec/policy/0/when` as people write it: `$.spec.policy[0].when`.
fn dotted(pointer: &str) -> String {
    let mut path = String::from("$");
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) {
            path += &format!("[{segment}]");
        } else {
            path += &format!(".{segment}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_names() {
        let source = Source::parse("a.yaml", "a:\n  b:\n    - x\n    - {c: 1}\n").unwrap();
        assert_eq!(source.place("/a/b/1/c"), (4, 8));
        assert_eq!(source.place("/a/b"), (2, 3));
        assert_eq!(source.place("/a/b/9/none"), (2, 3), "the nearest that is there");
        assert_eq!(source.fault("/a/b/1/c", "no").path, "$.a.b[1].c");
    }

    #[test]
    fn what_is_not_one_document_is_refused_with_a_place() {
        for (text, line) in [("a: [1,\n", 2), ("a: 1\n---\nb: 2\n", 1), ("", 1)] {
            let faults = Source::parse("a.yaml", text).unwrap_err();
            assert_eq!(faults.0.len(), 1, "{faults}");
            assert!(faults.0[0].line >= line, "{faults}");
        }
    }
}
