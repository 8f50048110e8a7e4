//! References: names that are valid by construction, and the immutable sorted table of one generation.

mod name;
mod table;

pub use name::{RefName, RefNameError};
pub use table::{Head, Ref, RefTable, RefView};
