//! What the end-to-end tests share: the scripted model provider, and a harness with a
//! real daemon and the real client. Nothing here is part of the product.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod bridge;
pub mod harness;
pub mod matrix;
pub mod provider;
pub mod tokens;
pub mod vendor;
