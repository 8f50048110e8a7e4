//! From verified to visible.

use crate::ObjectId;

/// A complete set of references and objects, proven. Only the verifier makes one.
pub struct Verified {
    _private: (),
}

/// Why a state is not publishable.
#[derive(Debug)]
pub enum VerifyError {
    /// A reference or an object names an object that is not here.
    Missing(ObjectId),
    /// An object is structurally broken.
    Broken {
        /// The object.
        id: ObjectId,
        /// What is wrong.
        detail: String,
    },
    /// The disk failed.
    Io(std::io::Error),
    /// The stop flag was raised.
    Interrupted,
}
