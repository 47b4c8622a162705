//! The guest's tools without a wall: the library in this very process. Whoever runs the tests may do more than any agent;
//! what holds then, holds by the table alone.

use super::{
    Place, Said, block_on,
    mcp::{has_denial, texts},
    wall::spec,
};
use crate::{Attack, Call, Run, World};
use cordon_tools::{Piece, Table, Tools};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longer than any call may take: see `judge`.
const LOST: Duration = Duration::from_secs(60);

/// Tools and their table.
pub(super) struct Alone {
    tools: Tools,
}

impl Alone {
    pub(super) fn new(world: &World, attack: &Attack) -> Self {
        let mut spec = spec(world);
        (attack.tune)(world, &mut spec);
        let table = Table::new(spec.policy, &spec.tools.workspace).expect("an absolute workspace");
        Self { tools: Tools::new(table) }
    }
}

impl Place for Alone {
    fn run(&mut self, _: &World, _: &Run) -> Option<Said> {
        None
    }

    fn call(&mut self, call: &Call) -> Option<Said> {
        let Value::Object(arguments) = call.arguments.clone() else { panic!("arguments are an object") };
        let asked = self.tools.call(call.tool, arguments, CancellationToken::new());
        let answer = match block_on(async { tokio::time::timeout(LOST, asked).await }) {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                return Some(Said {
                    bytes: b"no such tool".to_vec(),
                    code: Some(1),
                    started: true,
                    denied: false,
                });
            }
            Err(_) => return Some(Said { bytes: b"LOST: no answer".to_vec(), ..Said::default() }),
        };
        let mut bytes = texts(&json!([answer.all_text(), answer.structured])).into_bytes();
        for piece in &answer.pieces {
            if let Piece::Image { data, .. } | Piece::Audio { data, .. } | Piece::Blob { data, .. } = piece {
                bytes.extend_from_slice(data);
            }
        }
        let denied = answer.structured.as_ref().is_some_and(has_denial);
        Some(Said { bytes, code: Some(u32::from(answer.is_error)), started: true, denied })
    }
}
