/// The YAML documents of a text, without those that are empty.
///
/// Markers need no parser: YAML has a line that begins with `---` or `...` in no other role, not even inside of a quoted
/// text (1.2.2, rule `c-forbidden`). Before each document stand as many line breaks as lines come before it: a fault's line
/// is counted in the document's text, and so it is the line of the file.
pub fn split(text: &str) -> Vec<String> {
    let mut documents = Vec::new();
    let mut piece = Piece::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if after(line, "---").is_some() && (piece.is_open || piece.has_content) {
            documents.extend(std::mem::take(&mut piece).end());
        }
        piece.add(number, line);
        if after(line, "...").is_some() {
            documents.extend(std::mem::take(&mut piece).end());
        }
    }
    documents.extend(piece.end());
    documents
}

/// The document that is being read.
#[derive(Default)]
struct Piece {
    /// With its padding.
    text: String,
    /// Its `---` was seen: a per cent sign begins no directive any more.
    is_open: bool,
    /// It says something.
    has_content: bool,
}

impl Piece {
    fn add(&mut self, number: usize, line: &str) {
        if self.text.is_empty() {
            self.text = "\n".repeat(number);
        }
        self.text += line;
        let said = match after(line, "---") {
            Some(rest) => {
                self.is_open = true;
                rest
            }
            None if after(line, "...").is_some() || (!self.is_open && line.starts_with('%')) => "",
            None => line,
        };
        self.has_content |= !is_blank(said);
    }

    fn end(self) -> Option<String> {
        self.has_content.then_some(self.text)
    }
}

/// What follows a marker on its line.
fn after<'a>(line: &'a str, marker: &str) -> Option<&'a str> {
    line.strip_prefix(marker).filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Nothing, or a comment.
fn is_blank(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.starts_with('#')
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::document::Source;

    /// What each document of a text is, and the line where its field `at` stands.
    fn read_back(text: &str) -> Vec<(Value, usize)> {
        let parse = |text: &String| {
            let source = Source::parse("d.yaml", text).unwrap();
            let line = source.fault("/at", "").line;
            (source.value()["at"].clone(), line)
        };
        split(text).iter().map(parse).collect()
    }

    #[test]
    fn each_document_keeps_the_lines_of_the_file() {
        for (text, expected) in [
            ("at: 1\n", vec![(1, 1)]),
            ("---\nat: 1\n---\nat: 2\n", vec![(1, 2), (2, 4)]),
            ("# head\n\n---\nat: 1\n--- # next\n\nat: 2", vec![(1, 4), (2, 7)]),
            ("at: 1\r\n---\r\nat: 2\r\n", vec![(1, 1), (2, 3)]),
            ("\u{feff}---\nat: 1\n...\n# between\n---\nat: 2\n...\n", vec![(1, 2), (2, 6)]),
            ("%YAML 1.2\n---\nat: 1\n...\n%YAML 1.2\n---\nat: 2\n", vec![(1, 3), (2, 7)]),
            ("--- {at: 1}\n--- {at: 2}\n", vec![(1, 1), (2, 2)]),
            ("{\"at\": 1}", vec![(1, 1)]),
        ] {
            let expected: Vec<(Value, usize)> =
                expected.into_iter().map(|(at, line)| (Value::from(at), line)).collect();
            assert_eq!(read_back(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_marker_is_content() {
        let text = "at: |\n  a\n  ---\n  b\nmore: [x,\n ---y]\n----: z\n";
        assert_eq!(read_back(text), [(Value::from("a\n---\nb\n"), 1)]);
    }

    #[test]
    fn empty_documents_are_left_out() {
        for text in ["", "\n", "---\n", "# only\n---\n# comments\n", "...\n", "%YAML 1.2\n---\n"] {
            assert_eq!(split(text), Vec::<String>::new(), "{text:?}");
        }
        assert_eq!(read_back("---\n---\nat: 1\n---\n# end\n"), [(Value::from(1), 3)]);
    }
}
