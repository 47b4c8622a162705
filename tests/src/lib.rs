//! What the end-to-end tests share: the scripted model provider and other helpers.
//! Nothing here is part of the product.

pub mod provider;
