use crate::{
    Corrupt,
    wire::{self, Cursor},
};

/// Everything of a scored event but the event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head<'a> {
    /// The event's id.
    pub event_id: &'a str,
    /// What ties together all that happens to the event.
    pub correlation_id: &'a str,
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// When the gateway took it, in milliseconds since 1970.
    pub received_at: i64,
    /// When it was scored, in milliseconds since 1970.
    pub scored_at: i64,
    /// `stream` or `batch`.
    pub source: &'a str,
    /// The model's name.
    pub model: &'a str,
    /// The model's version.
    pub model_version: &'a str,
    /// The calibrated probability.
    pub score: f64,
    /// The score before calibration.
    pub margin: f64,
    /// What moved the score most, first the largest.
    pub reasons: Vec<Reason<'a>>,
}

/// What moved the score, and by how much.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reason<'a> {
    /// The feature's name.
    pub feature: &'a str,
    /// The value it had, as text.
    pub value: Option<&'a str>,
    /// Its share of the margin.
    pub contribution: f64,
}

/// Appends everything but the event, whose bytes go behind it unchanged.
pub fn encode_head(head: &Head<'_>, out: &mut Vec<u8>) {
    wire::put_str(out, head.event_id);
    wire::put_str(out, head.correlation_id);
    wire::put_str(out, head.pipeline);
    wire::put_long(out, head.received_at);
    wire::put_long(out, head.scored_at);
    wire::put_str(out, head.source);
    wire::put_str(out, head.model);
    wire::put_str(out, head.model_version);
    wire::put_double(out, head.score);
    wire::put_double(out, head.margin);
    if !head.reasons.is_empty() {
        wire::put_long(out, head.reasons.len() as i64);
        for reason in &head.reasons {
            wire::put_str(out, reason.feature);
            match reason.value {
                None => wire::put_long(out, 0),
                Some(value) => {
                    wire::put_long(out, 1);
                    wire::put_str(out, value);
                }
            }
            wire::put_double(out, reason.contribution);
        }
    }
    wire::put_long(out, 0);
}

/// Splits a scored event into its head and the event's bytes, which are not looked at.
pub fn decode_head(scored: &[u8]) -> Result<(Head<'_>, &[u8]), Corrupt> {
    let mut cursor = Cursor::new(scored);
    let head = Head {
        event_id: cursor.str()?,
        correlation_id: cursor.str()?,
        pipeline: cursor.str()?,
        received_at: cursor.long()?,
        scored_at: cursor.long()?,
        source: cursor.str()?,
        model: cursor.str()?,
        model_version: cursor.str()?,
        score: cursor.double()?,
        margin: cursor.double()?,
        reasons: reasons(&mut cursor)?,
    };
    Ok((head, cursor.rest()))
}

/// The fewest bytes of a reason: two empty texts' worth and a double.
const LEAST: usize = 10;

fn reasons<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<Reason<'a>>, Corrupt> {
    let mut reasons = Vec::new();
    loop {
        let (count, _) = cursor.block()?;
        if count == 0 {
            return Ok(reasons);
        }
        if count > cursor.rest().len() / LEAST {
            return Err(cursor.corrupt("more reasons than the datum has bytes"));
        }
        reasons.reserve_exact(count);
        for _ in 0..count {
            let feature = cursor.str()?;
            let value = match cursor.index(2, "no such branch of the union")? {
                0 => None,
                _ => Some(cursor.str()?),
            };
            reasons.push(Reason { feature, value, contribution: cursor.double()? });
        }
    }
}
