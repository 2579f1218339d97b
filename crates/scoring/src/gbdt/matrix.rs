/// Rows of features, held by column. What is missing is NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: Vec<Vec<f32>>,
}

impl Matrix {
    /// No rows of so many features.
    pub fn new(features: usize) -> Self {
        Self { rows: 0, columns: vec![Vec::new(); features] }
    }

    /// Adds a row; it must have a value for each feature.
    pub fn push(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.columns.len(), "a row has a value for each feature");
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(*value);
        }
        self.rows += 1;
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many features.
    pub fn features(&self) -> usize {
        self.columns.len()
    }

    /// One feature of all rows.
    pub fn column(&self, feature: usize) -> &[f32] {
        &self.columns[feature]
    }

    /// Copies one row out.
    pub fn read(&self, row: usize, out: &mut Vec<f32>) {
        out.clear();
        out.extend(self.columns.iter().map(|column| column[row]));
    }

    /// These rows of `self`, then those of `later`.
    #[must_use]
    pub fn joined(mut self, later: &Self) -> Self {
        for (column, more) in self.columns.iter_mut().zip(&later.columns) {
            column.extend_from_slice(more);
        }
        self.rows += later.rows;
        self
    }
}
