//! Values as specs and settings write them: how they are read and compared, and which form is normal. Each file knows
//! one type of value and no object.

mod algorithm;
pub(super) mod cidr;
pub(super) mod duration;
pub(super) mod issuer;
pub(super) mod lifetime;
pub mod listed;
pub(super) mod names;
pub(super) mod normal;
mod pattern;
mod token_type;
