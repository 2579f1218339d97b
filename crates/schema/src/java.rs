use crate::Schema;
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum References { Named, Inlined }
pub(crate) fn render(_schema: &Schema, _references: References) -> String { unimplemented!() }
