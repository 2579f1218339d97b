//! In place of networks, in builds without the feature `onnx`.

use std::convert::Infallible;

use super::OnnxSettings;

/// There is none in this build.
#[derive(Debug)]
pub struct Onnx(Infallible);

impl Onnx {
    pub(super) fn new(_: &[u8], settings: OnnxSettings, features: usize) -> Result<Self, String> {
        settings.check(features)?;
        Err("this build has no ONNX: it was made without the feature `onnx`".to_owned())
    }

    pub(super) fn file(&self) -> &[u8] {
        match self.0 {}
    }

    pub(crate) fn settings(&self) -> &OnnxSettings {
        match self.0 {}
    }

    pub(super) fn features(&self) -> usize {
        match self.0 {}
    }

    pub(super) fn bias(&self) -> f64 {
        match self.0 {}
    }

    pub(super) fn explain(&self, _: &[f32], _: bool, _: &mut Vec<i64>) -> f64 {
        match self.0 {}
    }
}
