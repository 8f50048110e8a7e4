//! References: names that are valid by construction, the immutable sorted table of one generation, what differs between
//! two tables, and the form that they have on disk.

mod change;
mod name;
mod packed;
mod shown;
mod table;

pub use change::Change;
pub use name::{RefName, RefNameError};
pub use packed::{PackedRefs, Peeled, UnexpectedLine};
pub use shown::Shown;
pub use table::{Head, Ref, RefTable, RefView};
