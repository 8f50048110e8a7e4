//! Any bare repository on disk, as `git upload-pack` would see it: configuration, references, alternates, loose objects,
//! shallow and partial state. Read only.
